"""Jobs as OpenAI's clients see them, whoever has created them."""

from __future__ import annotations

from pathlib import Path

from openai.types.fine_tuning import FineTuningJob

from burnish.jobs.queue import Queue
from burnish.serve.job_forms import JobForm
from burnish.serve.job_objects import details_of, job_object, model_name
from tests.unit.jobs.fake_children import FakeChildren, finish_run


def test_an_object_has_the_fields_of_openai(tmp_path: Path) -> None:
    children = FakeChildren()
    queue = Queue(tmp_path, children=children)
    method = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.3}}}
    form = JobForm(model="m", training_file="file-1", suffix="s", metadata={"a": "b"}, method=method)  # pyright: ignore[reportArgumentType]
    asked = queue.create({"data.path": "x", "model.name": "m"}, ["file-1"], details_of(form))
    plain = queue.create({"data.path": "x", "model.name": "/models/m", "seed": 5}, [], {"by": "another face"})
    for viewed in (asked, plain):
        found = FineTuningJob.model_validate(job_object(viewed, queue.files), strict=True)
        assert set(FineTuningJob.model_fields) <= set(job_object(viewed, queue.files))
        assert (found.model, found.status) == ("m", "queued")
    found = job_object(asked, queue.files)
    assert found["method"]["dpo"]["hyperparameters"]["beta"] == 0.3
    assert model_name(asked) == f"ft:m:burnish:s:{asked.id[-8:]}"
    assert (job_object(plain, queue.files)["seed"], model_name(plain)[:14]) == (5, "ft:m:burnish::")
    queue.close()


def test_a_job_has_succeeded_when_its_model_is_there(tmp_path: Path) -> None:
    children = FakeChildren()
    queue = Queue(tmp_path, children=children)
    job = queue.create({"data.path": "x"}, [], {}).id
    queue.tick()
    finish_run(queue.folder_of(job))
    children.end(min(children.alive), {})
    found = job_object(queue.view(job), queue.files, is_opening=True)
    assert (found["status"], found["fine_tuned_model"], found["finished_at"]) == ("running", None, None)
    found = job_object(queue.view(job), queue.files)
    assert (found["status"], found["fine_tuned_model"]) == ("succeeded", model_name(queue.view(job)))
    assert found["finished_at"] is not None
    queue.close()


def test_a_cancelled_job_is_so_at_once(tmp_path: Path) -> None:
    queue = Queue(tmp_path, children=FakeChildren())
    job = queue.create({"data.path": "x"}, [], {}).id
    queue.tick()
    viewed = queue.cancel(job)
    assert (viewed.state, job_object(viewed, queue.files)["status"]) == ("running", "cancelled")
    queue.close()
