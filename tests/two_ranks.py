"""Run by torchrun: the ``gvs`` command with a model that splits its work over two CPU processes.

lm_eval's own Hugging Face model does so on GPUs only.
"""

import os

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from gvs_tasks.cli import main


@register_model("hf-two-ranks")
class TwoRanks(HFLM):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes


def fail(self, exchanges):
    raise RuntimeError("no memory left")


if __name__ == "__main__":
    if os.environ.get("FAIL_ON_RANK") == os.environ["RANK"]:
        from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge

        SequenceClassifierJudge.verdicts = fail
    main()
