"""``--help``: an example in each, and nothing of it taken for markup."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from provision.artifacts.mirrors import SITES
from provision.cli.main import VERBS, app
from provision.domain.reference import FORMS


def help_of(verb: str) -> str:
    """Return the help in words, whatever the lines and frames that they are shown in."""
    outcome = CliRunner(env={"COLUMNS": "400", "NO_COLOR": "1"}).invoke(app, [verb, "--help"])
    assert outcome.exit_code == 0, outcome.output
    return " ".join(outcome.output.replace("│", " ").split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_of_itself(verb: str) -> None:
    assert f"fabric {verb}" in help_of(verb).partition("[OPTIONS]")[2]


@pytest.mark.parametrize("verb", ["up", "plan", "lock"])
def test_every_form_of_a_reference_and_every_mirror_is_shown_as_it_is_written(verb: str) -> None:
    shown = help_of(verb)
    assert not [form for form in FORMS if form not in shown]
    assert not [site for site in SITES if site not in shown.partition("--mirror")[2].partition("--")[0]]


def test_what_models_takes_is_told() -> None:
    shown = help_of("models")
    assert all(f"fabric models {what}" in shown for what in ("pull", "rm"))
    assert "--file" in shown
