"""A transformers model folder: its device, number format, tokenizer, weights and memory."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count
from transformers import AutoTokenizer

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.encoding import special_ids
from gvs_tasks.options import Options

__all__ = ["ModelFolder", "fitting_tokens"]

log = logging.getLogger(__name__)

#: Weights above this many bytes are run in bfloat16 on a GPU; below it, float32 costs little
#: and keeps verdicts the same in every batch and on every device.
LARGE = 2 * 10**9
#: Tokens of a batch when memory is plenty. On a CPU larger ones leave the caches and are slower.
BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
#: Numbers that a forward pass holds for each token at its peak, in units of the hidden size: a
#: generous count of one layer's projections. What it misses, halving the batch repairs.
PEAK = 64
#: The least that a batch is planned for.
MIN_TOKENS = 512


def fitting_tokens(wanted: int, free: int, hidden: int, itemsize: int) -> int:
    """Return how many tokens of a batch fit into half of the free memory, at most `wanted`.

    Args:
        wanted: Tokens when memory is plenty.
        free: Bytes that are free once the weights are loaded.
        hidden: The model's hidden size.
        itemsize: Bytes of one number.

    >>> fitting_tokens(65536, free=80 * 10**9, hidden=1024, itemsize=2)
    65536
    >>> fitting_tokens(65536, free=10**9, hidden=4096, itemsize=2)
    953
    """
    return max(MIN_TOKENS, min(wanted, free // 2 // (PEAK * hidden * itemsize)))


class ModelFolder:
    """A model folder with safetensors weights, read early and loaded late."""

    def __init__(self, name: str, folder: Path, options: Options, revision: str = "") -> None:
        """Read the folder's configuration.

        Args:
            name: The judge's short name, for errors.
            folder: A transformers model folder with safetensors weights.
            options: Device, dtype, threads, compilation and batch size.
            revision: Commit of a Hub model, for the record.

        Raises:
            GVSError: When the folder is no such model.
        """
        self.name, self.path, self.revision = name, folder, revision
        self._options = options
        self.config = self._read_config()

    @property
    def is_language_model(self) -> bool:
        """Whether the model writes text."""
        names = self.config.get("architectures") or []
        return any(
            str(name).endswith(("ForCausalLM", "ForConditionalGeneration")) for name in names
        )

    @property
    def text_config(self) -> dict[str, Any]:
        """The configuration of the part that reads text."""
        config: dict[str, Any] = self.config.get("text_config") or self.config
        return config

    @cached_property
    def device(self) -> torch.device:
        """The chosen device; by default this process's GPU when there is one."""
        chosen = self._options.judge_device
        if chosen is None:
            rank = int(os.environ.get("LOCAL_RANK", "0"))
            chosen = f"cuda:{rank}" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(chosen)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise GVSError(
                f"Judge '{self.name}': device '{chosen}' cannot be used ({error}). "
                "Choose another with gvs_judge_device=cpu."
            ) from error
        return device

    @cached_property
    def dtype(self) -> torch.dtype:
        """The chosen number format; float32 by default, bfloat16 for large models on a GPU."""
        default = "bfloat16" if self.device.type != "cpu" and self._bytes > LARGE else "float32"
        dtype: torch.dtype = getattr(torch, self._options.judge_dtype or default)
        return dtype

    def digest(self, *settings: object) -> str:
        """Hash the weights, the tokenizer, the number format and what else decides a verdict.

        Args:
            settings: Of JSON types.

        Returns:
            16 hexadecimal digits.
        """
        state = hashlib.sha256()
        for path in sorted(self.path.iterdir()):
            # What of judge.json decides a verdict is among the settings.
            kinds = (".safetensors", ".json", ".txt", ".model", ".jinja")
            if path.suffix in kinds and path.name != "judge.json":
                state.update(path.name.encode())
                with path.open("rb") as file:
                    state.update(hashlib.file_digest(file, "sha256").digest())
        how = [str(self.dtype), self._options.judge_compile, *settings]
        state.update(json.dumps(how, sort_keys=True).encode())
        return state.hexdigest()[:16]

    @property
    def record(self) -> dict[str, Any]:
        """What a reader of the results must know about the model."""
        return {
            "revision": self.revision or None,
            "dtype": str(self.dtype).removeprefix("torch."),
            "compiled": self._options.judge_compile,
        }

    def positions(self, default: int, most: int) -> int:
        """Return how many tokens the model reads at once.

        Args:
            default: When the configuration does not say.
            most: However many it allows.
        """
        positions = int(self.text_config.get("max_position_embeddings") or default)
        if self.text_config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
            positions -= 2  # these count positions from the padding index on
        return min(positions, most)

    @cached_property
    def tokenizer(self) -> Any:
        """The fast tokenizer."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
        except Exception as error:  # transformers and tokenizers raise many types
            raise GVSError(
                f"Judge '{self.name}': its tokenizer cannot be read ({error}). "
                "Fetch the folder again, or choose another judge."
            ) from error
        if not tokenizer.is_fast:
            raise GVSError(
                f"Judge '{self.name}' has no fast tokenizer (tokenizer.json), which long "
                "answers need. Convert it or choose another judge."
            )
        return tokenizer

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """The ids of control tokens, which no text may become."""
        return special_ids(self.tokenizer)

    @cached_property
    def pad_id(self) -> int:
        """Padding is masked; decoder models need some id to find the last real token."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in ids if token is not None)

    def load(self, auto: Any) -> Any:
        """Load the weights onto the device, or onto the CPU when the device is full.

        Args:
            auto: The transformers class to load them with.

        Raises:
            GVSError: When weights are missing or do not belong to such a model.
        """
        try:
            model, report = auto.from_pretrained(
                self.path,
                dtype=self.dtype,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            what = next(iter(str(error).splitlines()), type(error).__name__)
            raise GVSError(
                f"Judge '{self.name}' cannot be loaded ({what}). "
                "Fetch the folder again, or choose another judge."
            ) from error
        absent = sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])})
        if absent:
            # transformers would fill them with random numbers.
            raise GVSError(
                f"Judge '{self.name}' lacks weights ({', '.join(absent[:3])}): it was not "
                "trained for this. Choose another judge."
            )
        model.config.pad_token_id = self.pad_id
        model.eval()
        try:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # what the evaluated model no longer uses
            model = model.to(self.device)
        except torch.OutOfMemoryError:
            log.warning(
                "Judge '%s' does not fit on %s beside the evaluated model; it runs on the CPU.",
                self.name,
                self.device,
            )
            _ = self.dtype  # was chosen for the first device, and stays: it is in the digest
            self.device = torch.device("cpu")
            model = model.to(self.device)
        return torch.compile(model, dynamic=True) if self._options.judge_compile else model

    def batch_tokens(self) -> int:
        """Return the tokens of a batch: the user's choice, or what fits beside other models."""
        if self._options.judge_batch_tokens:
            return self._options.judge_batch_tokens
        wanted = BATCH_TOKENS.get(self.device.type, BATCH_TOKENS["cpu"])
        if self.device.type != "cuda":
            return wanted
        free, _ = torch.cuda.mem_get_info(self.device)
        hidden = int(self.text_config.get("hidden_size") or 4096)
        return fitting_tokens(wanted, free, hidden, self.dtype.itemsize)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Use as many threads as this process has cores, or as the user chose, for a while.

        torch counts the machine's cores, also where a container may use fewer of them.
        """
        chosen = self._options.judge_threads
        if self.device.type != "cpu" or (chosen is None and "OMP_NUM_THREADS" in os.environ):
            yield
            return
        before = torch.get_num_threads()
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(chosen or max(1, min(before, cpu_count() // ranks)))
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @property
    def _bytes(self) -> int:
        return sum(path.stat().st_size for path in self.path.glob("*.safetensors"))

    def _read_config(self) -> dict[str, Any]:
        try:
            config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise ValueError("it holds no object")
        except (OSError, ValueError) as error:
            raise GVSError(
                f"Judge '{self.name}': no readable config.json in {self.path}. "
                "A judge is a transformers model folder."
            ) from error
        if not self._bytes:
            raise GVSError(
                f"Judge '{self.name}': no safetensors weights in {self.path}. "
                "Other formats are not loaded; convert the model."
            )
        return config
