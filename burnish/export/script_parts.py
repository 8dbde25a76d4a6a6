"""The pieces that ejected scripts are put together from. Names in braces are filled in."""

HEAD = '''
"""Repeats the run `{run}` with transformers, peft and trl. Burnish is not needed.

    pip install torch transformers peft trl datasets
    python THIS_FILE

The {kind} that the run was trained on stand in `{rows}`, as tokens, each with the steps
that read it; what the run held out is not among them. The result is written to `ejected/`, the loss
of every step to `ejected/trainer_state.json`.
"""
'''

IMPORTS = """
import json
import math
from pathlib import Path

import torch
from datasets import Dataset
{peft}from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, {bits}TrainerCallback
from trl import {trl}
{optimizer}
HERE = Path(__file__).resolve().parent
OUT = HERE / "ejected"
DTYPES = {{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}}
"""

READ = '''
def read_rows():
    """The training rows."""
    with open(HERE / ROWS_FILE, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
'''

_PADDED = '''
def padded(rows, fill):
    """Lists of numbers as one tensor, filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])
'''

ROW_BATCH = (
    _PADDED
    + '''

def make_batch(rows):
    """Rows side by side. Padding stands at the end, where no real token sees it, and is not learned."""
    return {
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
        "input_ids": padded([row["input_ids"] for row in rows], PAD),
        "labels": padded([row["labels"] for row in rows], -100),
    }
'''
)

PACKED_BATCH = (
    _PADDED
    + '''

def make_batch(rows):
    """Rows side by side. A row holds several texts, whose positions begin again at 0: by these the model tells them
    apart. Padding is one more text, which is not learned."""
    width = max(len(row["input_ids"]) for row in rows)
    positions = [row["position_ids"] + list(range(width - len(row["position_ids"]))) for row in rows]
    return {
        "input_ids": padded([row["input_ids"] for row in rows], PAD),
        "labels": padded([row["labels"] for row in rows], -100),
        "position_ids": torch.tensor(positions),
    }
'''
)

PAIR_BATCH = (
    _PADDED
    + '''

def make_batch(rows):
    """First the better answers, then the worse ones, as DPOTrainer wants them; the masks mark what is learned."""
    sides = [(row["chosen_ids"], row["chosen_mask"]) for row in rows]
    sides += [(row["rejected_ids"], row["rejected_mask"]) for row in rows]
    return {
        "input_ids": padded([ids for ids, _ in sides], PAD),
        "attention_mask": padded([[1] * len(ids) for ids, _ in sides], 0),
        "completion_mask": padded([mask for _, mask in sides], 0),
    }
'''
)

ORDER = '''
class RunOrder(torch.utils.data.Sampler):
    """The order in which the run read its rows: another one in every epoch."""

    def __init__(self, rows):
        self.number, self.epoch = len(rows), 0
        self.by_step = {}
        for index, row in enumerate(rows):
            for step in row["steps"]:
                self.by_step.setdefault(step, []).append(index)

    def __len__(self):
        return self.number

    def __iter__(self):
        first = self.epoch * STEPS_PER_EPOCH
        self.epoch += 1
        for step in range(first, first + STEPS_PER_EPOCH):
            yield from self.by_step[step]
'''

TRAINER = '''
class Trainer({trainer}):
    """Reads rows that are tokens already, in the order of the run."""

    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset

    def _get_train_sampler(self, train_dataset=None):
        return RunOrder(self.train_dataset)
'''

STOP = '''
class StopWhereKept(TrainerCallback):
    """Ends at the step whose weights the run kept."""

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= KEPT_STEP
'''

LOAD = '''
def load_base():
    """The base model."""
    config = AutoConfig.from_pretrained(BASE, revision=REVISION, trust_remote_code=TRUST)
    for name, value in CONFIG.items():
        setattr(config, name, value)
    network = AutoModelForCausalLM.from_pretrained(
        BASE,
        revision=REVISION,
        config=config,
        dtype={dtype},
        trust_remote_code=TRUST,{bits}
    )
{after}    return network
'''

FOUR_BITS = """
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPES[PRECISION],
            llm_int8_skip_modules=LEFT_WHOLE,
        ),
        device_map={"": DEVICE},"""

EIGHT_BITS = """
        quantization_config=BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=LEFT_WHOLE),
        device_map={"": DEVICE},"""

QUANTIZED = """\
    for module in network.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False  # its packed layout knows no backward pass
"""

NEW_TOKENS = """\
    with torch.no_grad():  # rows for tokens that only the tokenizer has: the mean of the others
        old = network.get_input_embeddings().num_embeddings
        network.resize_token_embeddings(VOCABULARY, mean_resizing=False)
        for table in {network.get_input_embeddings().weight, network.get_output_embeddings().weight}:
            table[old:] = table[:old].float().mean(dim=0).to(table.dtype)
"""

ADAPTER = '''
def add_adapter(network):
    """The base with an adapter that begins as the run's did. Its weights are held in fp32."""
    torch.manual_seed(SEED)
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=LORA_DROPOUT,
        bias=BIAS,
        target_modules=TARGETS,
        modules_to_save=MODULES_TO_SAVE,
        use_rslora=RSLORA,
        use_dora=DORA,
        init_lora_weights=START,
        fan_in_fan_out=TRANSPOSED,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(network, config)
'''

PISSA_ADAPTER = ADAPTER.replace(
    "    return get_peft_model(network, config)\n",
    """    model = get_peft_model(network, config)
    # The adapter is taken out of the base weights: with what it began as, it can be saved as one for the whole base.
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(OUT / "start")
    return model
""",
)

OPTIMIZER_IMPORTS = {"adamw": "", "paged-adamw-8bit": "from bitsandbytes.optim import PagedAdamW8bit\n"}

OPTIMIZERS = {
    "adamw": "torch.optim.AdamW(list(groups.values()), lr=LEARNING_RATE, betas=BETAS)",
    "paged-adamw-8bit": "PagedAdamW8bit(list(groups.values()), lr=LEARNING_RATE, betas=BETAS)",
}

OPTIMIZER = '''
def rate_at(step):
    """The share of the peak learning rate in a step, counted from 0."""
    rising = min(round(WARMUP * TOTAL_STEPS), TOTAL_STEPS - 1)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = min(1, (step - rising) / max(1, TOTAL_STEPS - rising))
    return {{"constant": 1, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}}[SCHEDULE]


def make_optimizer(model):
    """AdamW and its schedule. Vectors do not decay; the B matrices may learn faster."""
    groups = {{}}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            decay = WEIGHT_DECAY if parameter.squeeze().ndim >= 2 else 0.0
            rate = LEARNING_RATE * (PLUS_RATIO if ".lora_B." in name else 1)
            group = groups.setdefault((decay, rate), {{"params": [], "weight_decay": decay, "lr": rate}})
            group["params"].append(parameter)
    optimizer = {optimizer}
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate_at)
'''

ROW_OPTIONS = """
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},"""

PAIR_OPTIONS = """
        max_length=None,
        loss_type=[LOSS],
        beta=BETA,
        disable_dropout=False,"""

REFERENCE = """
        ref_model=load_base(),  # the model that the answers are measured against"""

WIDENED = """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # TRL holds adapters beside a quantized base in bf16"""

SAVED = """
    model.save_pretrained(OUT)"""

PISSA_SAVED = """
    model.save_pretrained(OUT, path_initial_model_for_weight_conversion=str(OUT / "start"))"""

MAIN = '''
def main():
    """Trains, and saves the result."""
    rows = read_rows()
    tokenizer = AutoTokenizer.from_pretrained(BASE, revision=REVISION, trust_remote_code=TRUST)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(PAD)
    model = {model}
    options = {config}(
        output_dir=str(OUT),
        seed=SEED,
        max_steps=TOTAL_STEPS,
        per_device_train_batch_size=MICRO_ROWS,
        gradient_accumulation_steps=ROWS_PER_STEP // MICRO_ROWS,
        max_grad_norm=CLIP,
        gradient_checkpointing=CHECKPOINTING,
        gradient_checkpointing_kwargs={{"use_reentrant": False}},
        bf16=PRECISION == "bf16",
        fp16=PRECISION == "fp16",
        use_cpu=DEVICE == "cpu",
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",{options}
    )
    trainer = Trainer(
        model,{reference}
        args=options,
        data_collator=make_batch,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        optimizers=make_optimizer(model),
        callbacks=[StopWhereKept()],
    ){widened}
    trainer.train()
    trainer.save_state(){saved}
    tokenizer.save_pretrained(OUT)


if __name__ == "__main__":
    main()
'''
