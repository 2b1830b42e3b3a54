"""``guards.yaml``: the guard models that can be used by name, and how each is read."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gvs_tasks.judge.profile import Profile
from gvs_tasks.schema import read_yaml, validate
from gvs_tasks.taxonomy import StrictModel

__all__ = ["Family", "Reply", "families", "family_of"]

HERE = Path(__file__).parent
Meaning = Literal["safe", "unsafe", "controversial", "refusal", "answer"]
Revision = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]


class Reply(StrictModel):
    """A place in a guard's reply.

    Attributes:
        after: The fixed text since the place before, or since the beginning of the reply.
        labels: The texts that may follow, and what each means; None for nothing of ours.
        then: The labels that are forced on before the next place, one after another; empty at
            the last place.
    """

    after: str
    labels: dict[str, Meaning | None]
    then: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> "Reply":
        for label in self.then:
            if label not in self.labels:
                raise ValueError(f"'then' names {label!r}, which is no label")
        return self


class Family(StrictModel):
    """Guards that share a prompt and labels.

    Attributes:
        about: What they tell, in one line.
        licence: Of the weights.
        gated: Whether the Hub asks for an agreement first.
        languages: Those that the authors name.
        architectures: Classes that transformers loads them with.
        template: "chat", a file in ``templates/``, or None for a text classifier.
        contents: How the chat template takes a message's content.
        questions: Options of the chat template, one question each; the worst answer counts.
        markers: Plain texts by which the template tells its parts apart.
        reply: Where verdicts are read.
        classifier: How a text classifier is read.
        models: Hub ids and their pinned commits; None where no commit is known.
    """

    about: str
    licence: str
    gated: bool
    languages: tuple[str, ...]
    architectures: tuple[str, ...]
    template: str | None = None
    contents: Literal["text", "parts"] = "text"
    questions: tuple[dict[str, Any], ...] = ({},)
    markers: tuple[Annotated[str, Field(pattern=r"^\S+$")], ...] = ()
    reply: tuple[Reply, ...] = ()
    classifier: Profile | None = None
    models: dict[str, Revision | None]

    @model_validator(mode="after")
    def _complete(self) -> "Family":
        if (self.classifier is None) == (self.template is None):
            raise ValueError("needs either a template or a classifier")
        if self.template and not any("unsafe" in place.labels.values() for place in self.reply):
            raise ValueError("no label means 'unsafe'")
        for place in self.reply:
            told = set(place.labels.values())
            for meaning, other in (("unsafe", "safe"), ("refusal", "answer")):
                if meaning in told and other not in told:
                    raise ValueError(f"a place tells '{meaning}' and never '{other}'")
        last = len(self.reply) - 1
        if any(bool(place.then) == (n == last) for n, place in enumerate(self.reply)):
            raise ValueError("every place but the last, and only those, needs 'then'")
        return self

    def template_text(self) -> str:
        """Return the template's text, where it is a file."""
        return (HERE / "templates" / str(self.template)).read_text(encoding="utf-8")


@cache
def families() -> dict[str, Family]:
    """Return every family by name."""
    path = HERE / "guards.yaml"
    return {
        name: validate(Family, data, f"{path.name}: {name}")
        for name, data in read_yaml(path).items()
    }


def family_of(model: str) -> str | None:
    """Return the name of the family of a Hub model; None when it is not listed."""
    return next((name for name, each in families().items() if model in each.models), None)
