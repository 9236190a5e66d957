"""`make demo`: the main job on the example company, from claim notes to two proven specialists.

    inbox    what is wrong with an export of the claims system?
    triage   which of twelve teams takes a claim?        base minilm
    intake   the whole intake record as JSON             base smollm2-135m
    proof    is each of them worth it?

Does nothing that `azubi check`, `azubi tune` and `azubi prove` would not: it writes the notes and runs three
recipes and two proofs.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from azubi.cli import main as azubi
from azubi.cli.command import Session, forgive_encodings
from azubi.cli.recipe_file import recipe_from

HERE = Path(__file__).parent
RECIPES = HERE.parent.parent / "recipes"
sys.path.insert(0, str(HERE))

from faults import NEW, OLD, write_inbox  # noqa: E402
from generate import HELDOUT_NOTES, SEED, TRAINING_NOTES, generate, write_tasks  # noqa: E402

TASKS = {
    "triage": "which team takes a claim (two or three minutes)",
    "intake": "the whole intake record as JSON (most of the time)",
}

BUDGETS = {"triage": "60s", "intake": "3m"}
"""What the baselines of a proof may take together."""


def main() -> int:
    """Write the notes; train, measure, keep and prove both specialists. Gives the exit code."""
    forgive_encodings()
    console = Console(stderr=True, highlight=False)
    notes = Session().home / "examples" / "insurer"
    write_tasks(notes, *generate(SEED, TRAINING_NOTES, HELDOUT_NOTES))
    console.print(
        f"\nAlster & Söhne, an invented insurer, hands over {TRAINING_NOTES:,} claim notes with the\n"
        "answers its clerks gave. What the clerks know stands in examples/insurer/handbook.md; the\n"
        f"model has never seen it. {HELDOUT_NOTES} notes of other policyholders are kept back as the test.\n"
    )
    check_inbox(console, notes)
    for number, (task, what) in enumerate(TASKS.items(), start=1):
        console.print(Rule(f"Specialist {number} of {len(TASKS)}, {task}: {what}", align="left"))
        files = ["--data", str(notes / f"{task}.jsonl"), "--test-data", str(notes / f"{task}-heldout.jsonl")]
        if code := azubi(["tune", str(RECIPES / f"{task}.yaml"), *files]):
            return code
        print()
    for task, budget in BUDGETS.items():
        console.print(
            Rule(f"Is {task} worth it? In short: its baselines have {budget} together", align="left")
        )
        if code := azubi(["prove", task, "--budget", budget]):
            return code
        print()
    return 0


def check_inbox(console: Console, folder: Path) -> None:
    """Look through an export in which one fault of each kind was planted; say which were found."""
    from compare import outcomes, table

    from azubi.cli.findings import show
    from azubi.pipeline.check import inspect

    planted = write_inbox(folder)
    console.print(
        Rule(
            "First, what is wrong with their inbox as it came out of the claims system (half a minute)",
            align="left",
        )
    )
    given = {"data": str(folder / OLD), "test_data": str(folder / NEW)}
    with console.status("Reading …") as status:
        recipe = recipe_from(RECIPES / "inbox.yaml", given)
        check = inspect(recipe, Session().home, handle=lambda stage: status.update(f"{stage} …"))
    show(check, Session().out(), brief=True)
    listed = outcomes(planted, check)
    missed = [outcome for outcome in listed if outcome.finding is None]
    print(f"\nPlanted, for you to see what azubi finds: {len(planted)} faults, one of each kind.")
    print(f"Not found: {len(missed) or 'none'}.")
    if missed:
        Session().out().print(table(missed))
    files = f"--data {folder / OLD} --test-data {folder / NEW}"
    print(f"The same by command: azubi check {RECIPES / 'inbox.yaml'} {files}\n")


if __name__ == "__main__":
    sys.exit(main())
