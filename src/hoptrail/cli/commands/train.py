"""The commands that train: on questions, on passages alone, on feedback, on a knowledge graph."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoptrail.cli.app import LEARNING, add_group, command
from hoptrail.cli.command import invocation_line, taking
from hoptrail.cli.opening import (
    check_readable,
    check_results,
    check_store,
    leaving_no_empty_folder,
    load_named_encoder,
    load_reward,
    training_sets,
)
from hoptrail.cli.options import (
    MADE,
    VARIED,
    DevOption,
    EncoderOption,
    EpochsOption,
    FirstOption,
    InferFlag,
    JointFlag,
    NamespaceOption,
    NetworksOption,
    ObjectiveOption,
    OutOption,
    PlotOption,
    PolicyOption,
    PretrainingOption,
    QuestionFilesOption,
    ReformulatorOption,
    ResumeFlag,
    RewardOption,
    SeedOption,
    StartOption,
    StoreOption,
    TriplesOption,
    TuningEpochsOption,
    TuningQuestionsOption,
    TuningRateOption,
    VariedOption,
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import say
from hoptrail.cli.settings_file import (
    SettingsFileOption,
    StopAfterOption,
    WriteSettingsOption,
    training_config,
)
from hoptrail.cli.tracking import TrackerOption, dev_rows, last_of_curves, training_progress
from hoptrail.errors import ConfigError, InputError

if TYPE_CHECKING:
    from hoptrail.policies.policy import Policy

REFUSED = 3
"""Exit code of a command that did its work and would not let the result through."""


def name_way(args: list[str]) -> list[str]:
    """The way of training that options stand for, before them: `--set` is for `questions`.

    Args:
        args: What stands behind `hoptrail train`, an option first.
    """
    names = {arg.partition("=")[0] for arg in args}
    renamed: dict[str, str] = {}
    if "--triples" in names:
        way = "graph"
    elif "--from-feedback" in names:
        way, renamed = "feedback", {"--from-feedback": "--store"}
    elif "--self-supervised" in names and "--set" not in names:
        way, renamed = "passages", {"--self-supervised": "--made"}
    else:
        way = "questions"
    parts = (arg.partition("=") for arg in args)
    return [way, *(renamed.get(name, name) + sign + value for name, sign, value in parts)]


train_commands = add_group(
    "train",
    "Train a policy, and write a folder that --policy reads.\n\n"
    "What is learned from: questions whose passages are known, the passages alone, the feedback in "
    "a memory, or a knowledge graph. `hoptrail train --set …` is `hoptrail train questions --set "
    "…`.",
    examples="""
train --set corpus.jsonl questions.jsonl --out my-policy
train passages --corpus agent.db --out my-policy
train feedback --store agent.db --out my-policy
train graph --triples kb.txt --questions qa.jsonl --out my-policy""",
    panel=LEARNING,
    route=name_way,
)


@command(
    train_commands,
    "questions",
    cls=taking(optional={"--varied": VARIED, "--self-supervised": MADE}, pairs=("--set", "--dev")),
    examples="""
train questions --set corpus.jsonl questions.jsonl --out my-policy
train questions --set a.jsonl qa.jsonl --set b.jsonl qb.jsonl --out both
train questions --set a.jsonl qa.jsonl --dev c.jsonl qc.jsonl --out my-policy
train questions --set corpus.jsonl questions.jsonl --resume --out my-policy""",
)
def train_on_questions(
    context: typer.Context,
    sets: Annotated[
        list[Path],
        path_option(
            "--set",
            metavar="CORPUS QUESTIONS",
            help="a corpus (or a store) and its questions; repeatable",
        ),
    ],
    out: OutOption,
    dev: DevOption = None,
    objective: ObjectiveOption = None,
    reward: RewardOption = None,
    augmentation_share: VariedOption = None,
    self_supervised: PretrainingOption = None,
    corpus: Annotated[
        list[Path] | None,
        path_option(
            "--corpus",
            metavar="PATH…",
            help="with --self-supervised: corpora or stores to make them of (default: those of "
            "--set)",
        ),
    ] = None,
    start: StartOption = None,
    reformulator: ReformulatorOption = None,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    stop_after: StopAfterOption = None,
    tuning_epochs: TuningEpochsOption = None,
    tuning_rate: TuningRateOption = None,
    tuning_questions: TuningQuestionsOption = None,
    infer_evidence: InferFlag = False,
    networks: NetworksOption = None,
    joint: JointFlag = False,
    resume: ResumeFlag = False,
    plot: PlotOption = None,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
) -> int:
    """Train a policy on questions whose passages are known."""
    if corpus and not self_supervised:
        raise InputError("--corpus is for --self-supervised: a corpus alone has no questions")
    options: dict[str, Any] = {"objective": objective, "seed": seed, "epochs": epochs}
    options |= {"stop_after": stop_after, "networks": networks, "joint": joint or None}
    options |= {"self_supervised": self_supervised} | {
        "tuning_epochs": tuning_epochs,
        "tuning_rate": tuning_rate,
        "tuning_questions": tuning_questions,
        "infer_evidence": infer_evidence or None,
        "augmentation_share": augmentation_share,
    }
    return _train(
        context,
        out,
        options,
        sets=sets,
        dev=dev or [],
        unlabelled=corpus or [],
        start=start or "nothing",
        reformulator=reformulator,
        reward=reward,
        resume=resume,
        plot=plot,
        tracker=tracker,
        encoder=encoder,
    )


@command(
    train_commands,
    "passages",
    cls=taking(optional={"--made": MADE}, pairs=("--dev",)),
    examples="""
train passages --corpus agent.db --out my-policy
train passages --corpus a.jsonl b.jsonl --made 1000 --out my-policy
train passages --corpus corpus.jsonl --show 10""",
)
def train_on_passages(
    context: typer.Context,
    corpus: Annotated[
        list[Path],
        path_option("--corpus", metavar="PATH…", help="corpora or stores to make questions of"),
    ],
    out: Annotated[
        Path | None,
        path_option("--out", metavar="DIR", help="the folder to write; other files in it stay"),
    ] = None,
    self_supervised: Annotated[
        int | None,
        option(
            "--made",
            parser=whole_argument,
            metavar="[N]",
            help=f"questions that are made (default: {MADE})",
        ),
    ] = None,
    show: Annotated[
        int | None,
        option(
            "--show",
            parser=whole_argument,
            metavar="N",
            help="make N of these questions, print them, and stop",
        ),
    ] = None,
    dev: DevOption = None,
    start: StartOption = None,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    networks: NetworksOption = None,
    resume: ResumeFlag = False,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
) -> int:
    """Train a policy on passages alone, by questions that are made from them.

    A policy that is trained already keeps half of its weights.
    """
    if show is not None:
        return _show_made(corpus, show, seed, encoder)
    if out is None:
        raise InputError("the folder to write is missing: give --out DIR")
    options: dict[str, Any] = {
        "objective": "",
        "seed": seed,
        "epochs": epochs,
        "networks": networks,
        "self_supervised": int(MADE) if self_supervised is None else self_supervised,
    }
    return _train(
        context,
        out,
        options,
        dev=dev or [],
        unlabelled=corpus,
        start=start or "shipped",
        resume=resume,
        tracker=tracker,
        encoder=encoder,
    )


@command(
    train_commands,
    "feedback",
    examples="""
train feedback --store agent.db --out my-policy
train feedback --store agent.db --policy my-policy --namespace team --out next
train feedback --store agent.db --questions known.jsonl --out my-policy""",
)
def train_on_feedback(
    context: typer.Context,
    store: StoreOption,
    out: OutOption,
    policy: PolicyOption = None,
    questions: Annotated[
        list[Path] | None,
        path_option(
            "--questions",
            metavar="QUESTIONS.jsonl",
            help="100 questions or more about the memory to judge by (default: a fifth of the "
            "feedback is held back for that)",
        ),
    ] = None,
    namespace: NamespaceOption = None,
    tune_networks: Annotated[
        bool, toggle("--tune-networks", "tune the weights of the networks, not the ranking alone")
    ] = False,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
) -> int:
    """Train a policy on the feedback in a memory.

    It starts from --policy and learns a ranking of what that finds. It is written only if it does
    no harm: otherwise the exit code is 3.
    """
    from hoptrail.evaluation.use import learn_from_use
    from hoptrail.memory.store import Store
    from hoptrail.policies.feedback.learned_ranking import RankingConfig
    from hoptrail.policies.feedback.off_policy import TuneConfig

    if len(questions or ()) > 1:
        raise ConfigError("train feedback takes one file of --questions")
    check_store(store)
    if not tune_networks and (seed or epochs is not None):
        raise ConfigError("train feedback takes --seed and --epochs with --tune-networks alone")
    config: RankingConfig | TuneConfig = (
        training_config(context, TuneConfig, {"seed": seed, "epochs": epochs})
        if tune_networks
        else training_config(context, RankingConfig, {})
    )
    start = _trainable_policy(policy or "shipped")
    with training_progress(context, tracker, out, asdict(config)) as steps:
        # Not the one with the disk cache: what users asked should leave no vector there.
        loaded = load_named_encoder(encoder)
        with Store(store.place, encoder=loaded) as opened:
            update = learn_from_use(
                opened,
                start,
                out,
                encoder=loaded,
                config=config,
                namespace=namespace or (),
                questions=questions[0] if questions else None,
                progress=steps,
                command=invocation_line(context),
            )
        steps.keep_card(update.policy.card)
    if not update.verdict.accepted:
        sentence = f"the update was refused and nothing was written: {update.verdict}"
        say(f"hoptrail: {sentence}", stream=sys.stderr)
        return REFUSED
    say(f"{update.verdict}")
    say(f"learned from {update.learned} recalls: {out}")
    return 0


@command(
    train_commands,
    "graph",
    examples="""
train graph --triples kb.txt --questions qa.jsonl --out my-policy
train graph --triples kb.txt --questions a.jsonl b.jsonl --first 100 --out kg""",
)
def train_on_graph(
    context: typer.Context,
    triples: TriplesOption,
    questions: QuestionFilesOption,
    out: OutOption,
    policy: PolicyOption = None,
    first: FirstOption = None,
    paths: Annotated[
        bool,
        toggle(
            "--paths",
            "learn from the relations that the files give as path, not from the answers",
        ),
    ] = False,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    tracker: TrackerOption = None,
    settings_file: SettingsFileOption = None,
    settings_out: WriteSettingsOption = None,
    encoder: EncoderOption = None,
) -> int:
    """Train what leads walks over the relations of a knowledge graph.

    The files hold questions and their answers. To walk texts, --policy is taken over.
    """
    from hoptrail.policies.relations.training import RelationConfig, train_relations

    supervision = "paths" if paths else None
    options = {"seed": seed, "epochs": epochs, "first": first, "supervision": supervision}
    config = training_config(context, RelationConfig, options)
    with training_progress(context, tracker, out, asdict(config)) as steps:
        card = train_relations(
            triples,
            questions,
            out,
            config=config,
            encoder=load_named_encoder(encoder),
            policy=_trainable_policy(policy or "shipped"),
            progress=steps,
            command=invocation_line(context),
        )["relations"]
        steps.keep_card(card)
    say(f"trained on {card['trained on']} questions, loss {card['curve'][-1]['loss']:.3f}: {out}")
    return 0


def _train(
    context: typer.Context,
    out: Path,
    options: dict[str, Any],
    *,
    start: str,
    sets: Sequence[Path] = (),
    dev: Sequence[Path] = (),
    unlabelled: Sequence[Path] = (),
    reformulator: Path | None = None,
    reward: str | None = None,
    resume: bool = False,
    plot: Path | None = None,
    tracker: str | None = None,
    encoder: str | None = None,
) -> int:
    """Train a policy and print what became of it."""
    from hoptrail.cli import output
    from hoptrail.learning.execution.processes import is_first_process
    from hoptrail.policies.data.training_data import TrainingData
    from hoptrail.policies.reformulation.cross_fit import CrossFit
    from hoptrail.policies.training.config import RunOptions, TrainConfig
    from hoptrail.policies.training.run import train as train_policy

    check_readable(*sets, *dev, *unlabelled)
    check_results(None, plot, inputs=(*sets, *dev, *unlabelled))
    options["reward"] = load_reward(reward)
    config = training_config(context, TrainConfig, options)
    data = TrainingData(
        train=training_sets(sets),
        dev=training_sets(dev),
        unlabelled=unlabelled,
    )
    settings = config.describe()
    with (
        leaving_no_empty_folder(out),
        training_progress(context, tracker, out, settings, together=True) as steps,
    ):
        card = train_policy(
            data,
            out,
            config,
            encoder=load_named_encoder(encoder),
            start=None if start == "nothing" else _trainable_policy(start),
            cross_fit=None if reformulator is None else CrossFit.load(reformulator),
            options=RunOptions(resume, steps, invocation_line(context)),
        )
        steps.keep_card(card)
    if not is_first_process():
        return 0
    if plot:
        from hoptrail.evaluation.training_curves import plot_training

        plot_training(card, plot)
    console = output.output()
    console.print(output.rows_table("", last_of_curves(card["curves"])))
    if card["dev"]:
        console.print(output.rows_table("", dev_rows(card["dev"])))
    part = f", {card['made']} of them made" if card["made"] else ""
    part += f", {card['held_out']} of them held out" if "held_out" in card else ""
    say(f"trained on {card['questions'] + card['made']} questions{part}: {out}")
    return 0


def _trainable_policy(name: str | Path) -> Policy:
    """The policy that training goes on from: "shipped", or a folder."""
    from hoptrail.policies.policy import Policy

    return Policy.shipped() if name == "shipped" else Policy.load(name)


def _show_made(corpora: Sequence[Path], count: int, seed: int, encoder: str | None) -> int:
    """Print questions that would be made, each with its answer and the passages it takes."""
    from hoptrail.cli import output
    from hoptrail.policies.training.preparation import show_pseudo_questions

    check_readable(*corpora)
    with output.Steps() as steps:
        examples = show_pseudo_questions(
            corpora, count=count, seed=seed, encoder=load_named_encoder(encoder), progress=steps
        )
    for question, passages in examples:
        answer = f"  ({question.answers[0]})" if question.answers else ""
        say(f"{question.text}{answer}")
        for passage in passages:
            say(f"    {passage.id}  {passage.title or passage.text[:60]}")
    return 0
