"""Jobs: workflows in processes of their own, queued, watched, paused, resumed and found again after a crash."""
