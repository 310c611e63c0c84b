"""``%%insights``: a cell that holds a query, and ``%insights``: where we are connected.

The cell's body is JSON and is never text-spliced: ``"{{name}}"`` is replaced in the parsed tree by a typed
value. The magic's line is split like a shell's and then parsed by argparse, since IPython's own parser stumbles
over quotes, braces and comments in it.
"""

import argparse
import json
import keyword
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NoReturn

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import no_var_expand

from insights_nb import completion, inventory, notebook
from insights_nb.body import parse_json, read_body
from insights_nb.catalog import nearest
from insights_nb.errors import QueryError

NAME = "insights"
MATCHER = "insights_nb"
"""What IPython calls our completion, in its settings too."""
WHOLE = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")
ANY = re.compile(r"\{\{.*?\}\}", re.DOTALL)
LISTED = 12
"""Names an error lists before it stops."""

LEAD = """\
Ask the Insights API, with the API's own JSON as the cell's body.

    %%insights exits --last 24h -p flow=5e8367f36426c01425fbd1f5
    {"data": {"ApplicationExitEvent": {"fields": ["SessionId", "TimeStamp", "ActionId", "ExitReason"]}},
     "filters": {"ApplicationExitEvent": {"FlowId": {"$eq": "{{flow}}"}}}}

A value that is "{{name}}" and nothing else is replaced by the typed value of -p, of --params or of the
notebook's variable of that name. What follows a # in the first line is a comment. %insights alone shows where
we are connected, what is running and what the cache holds.
"""


class _Parser(argparse.ArgumentParser):
    """A parser that raises our error (argparse would leave the kernel by SystemExit) and knows its options' names."""

    color: bool = False

    def error(self, message: str) -> NoReturn:
        raise QueryError([f"%%{NAME}: {message}"], f"The options: %%{NAME}?")

    @property
    def long_names(self) -> tuple[str, ...]:
        return tuple(name for action in self._actions for name in action.option_strings if name.startswith("--"))

    @property
    def names_with_value(self) -> frozenset[str]:
        return frozenset(name for action in self._actions if action.metavar for name in action.option_strings)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of one width, whatever the terminal's."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)


def _parser() -> _Parser:
    parser = _Parser(
        prog=f"%%{NAME}",
        usage=f"%%%%{NAME} [DEST] [options]",
        description=LEAD,
        formatter_class=_Formatter,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.color = False  # from Python 3.14 on, help in a terminal is coloured; this one is a docstring too
    add = parser.add_argument
    add("dest", nargs="?", metavar="DEST", help="variable that gets the frame; without it the cell shows the frame")
    add("-o", "--output", metavar="DEST", help="the same as DEST")
    add("--last", metavar="LENGTH", help="range from that long ago until now, such as 24h or 7d")
    add("--since", metavar="TIME", help='start of the range: ISO text, or back from now, such as "-24h"')
    add("--until", metavar="TIME", help="end of the range; without it, now")
    add("-p", "--param", metavar="NAME=VALUE", action="append", default=[], help="value of {{NAME}}, as JSON or text")
    add("--params", metavar="DICT", help="variable holding a dict of such values")
    add("--file", metavar="PATH", help="read the JSON from a file; the cell's body stays empty")
    add("--dry-run", action="store_true", help="check and show the exact JSON; send nothing")
    add("--refresh", action="store_true", help="fetch anew even if the cache has it")
    add("--timeout", metavar="SECONDS", type=float, help="stop waiting after that long; the report goes on")
    add("--limit", metavar="ROWS", type=int, help="show only the first rows; DEST still gets all of them")
    add("--no-progress", action="store_true", help="no bar while it runs, only the line at the end")
    add("-q", "--quiet", action="store_true", help="no bar and no line")
    add("--profile", metavar="NAME", help="profile of the configuration file")
    add("-h", "--help", action="store_true", help="show this")
    return parser


PARSER = _parser()


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Add ``%insights``, ``%%insights`` and completion inside its cells; called by ``%load_ext insights_nb``."""

    @no_var_expand  # IPython would expand {…} in the line, and one unknown name silently turns that off
    def insights(line: str, cell: str | None = None) -> Any:
        return run_cell(ipython, line, cell)

    insights.__doc__ = PARSER.format_help()
    register: Any = ipython.register_magic_function  # typed for use as a decorator only
    register(insights, magic_kind="line_cell", magic_name=NAME)
    ipython.Completer.custom_matchers.append(_matcher(ipython))


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take both magics and their completion away again; called by ``%unload_ext insights_nb``."""
    for kind in ("line", "cell"):
        ipython.magics_manager.magics[kind].pop(NAME, None)
    matchers = ipython.Completer.custom_matchers
    matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", "") != MATCHER]


def _matcher(shell: InteractiveShell) -> Any:
    """Completion inside ``%%insights`` cells, in the form IPython asks for it."""

    def names() -> list[str]:
        return list(_variables(shell))

    def match(context: CompletionContext) -> Any:
        lines = context.full_text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        found = None
        # A key pressed in the middle of anything must not show a traceback.
        with suppress(Exception):
            found = completion.offer(context.full_text, offset, PARSER.long_names, names)
        if found is None or not found.words:
            return {"completions": []}
        return {
            "completions": [SimpleCompletion(word, type=found.kind) for word in found.words],
            "matched_fragment": found.fragment,
            "suppress": True,  # Python's own names are no part of a query
            "ordered": True,
        }

    mark: Any = context_matcher(identifier=MATCHER)  # a decorator without types
    return mark(match)


def run_cell(shell: InteractiveShell, line: str, cell: str | None) -> Any:
    """Do what one ``%insights`` line (``cell`` is None) or ``%%insights`` cell says.

    Returns
    -------
    object or None
        What the cell shows: the frame, its first rows under ``--limit``, a dry run, the connection; or None
        when the frame went into a variable.

    Raises
    ------
    InsightsError
        For everything that goes wrong, so that the cell fails.
    """
    options = parse_line(line)
    if options.help:
        print(PARSER.format_help())  # noqa: T201 - asked for, as text
        return None
    asked = {name for name, value in vars(options).items() if value not in (None, False, [])}
    if cell is None and asked <= {"profile"}:
        return inventory.connection(options.profile)
    if cell is None and not options.file:
        raise QueryError([f"%{NAME} has a query only with --file"], f"Write %%{NAME} and the JSON in the lines below.")
    dest = _dest(options)
    names = _Names(options, shell)
    query = names.fill(_read(cell or "", options.file))
    span = {key: names.fill_text(getattr(options, key), f"--{key}") for key in ("since", "until", "last")}
    names.check_all_used()
    if options.dry_run:
        return notebook.dry_run(query, **span, profile=options.profile)
    frame = notebook.query(
        query,
        **span,
        refresh=options.refresh,
        timeout=options.timeout,
        progress="none" if options.quiet else "line" if options.no_progress else "auto",
        profile=options.profile,
    )
    if dest:
        shell.user_ns[dest] = frame
    if options.limit is not None:
        return frame.head(options.limit)
    return None if dest else frame


def parse_line(line: str) -> argparse.Namespace:
    """Options of a magic's line, split as a shell would.

    Raises
    ------
    QueryError
        For unknown options (with the nearest one), bad values, and quotes that do not close.
    """
    trouble = ""
    try:
        options, unknown = PARSER.parse_known_args(list(_joined(shlex.split(line, comments=True))))
    except ValueError as error:
        trouble = f"{str(error)[:1].lower()}{str(error)[1:]} in: {line.strip()}"
    except argparse.ArgumentError as error:
        trouble = str(error)
    if trouble:
        PARSER.error(trouble)
    for token in unknown:
        if token.startswith("-"):
            PARSER.error(f"no such option: {token}.{nearest(token.split('=')[0], PARSER.long_names)}")
        PARSER.error(f'one variable gets the frame, but there is also "{token}"; quote values that hold blanks')
    if options.timeout is not None and not 0 < options.timeout < math.inf:
        PARSER.error("--timeout takes seconds above zero")
    if options.limit is not None and options.limit < 0:
        PARSER.error("--limit takes a number of rows")
    return options


def _joined(tokens: Sequence[str]) -> Iterator[str]:
    """Tokens with each option tied to its value: argparse takes ``-24h`` in ``--since -24h`` for an option."""
    rest = iter(tokens)
    for token in rest:
        name, sign, value = token.partition("=")
        option = name.replace("_", "-") if name.startswith("--") else name  # --dry_run is --dry-run
        following = next(rest, None) if option in PARSER.names_with_value and not sign else None
        if following is not None:
            yield f"{option}={following}" if option.startswith("--") else f"{option}{following}"
        else:
            yield f"{option}{sign}{value}"


def _dest(options: argparse.Namespace) -> str | None:
    if options.dest and options.output and options.dest != options.output:
        PARSER.error(f'one variable gets the frame, but two are named: "{options.dest}" and "{options.output}"')
    dest: str | None = options.output or options.dest
    if dest is not None and (not dest.isidentifier() or keyword.iskeyword(dest)):
        PARSER.error(f'"{dest}" is no name for a variable')
    return dest


def _read(text: str, file: str | None) -> dict[str, Any]:
    if file and text.strip():
        PARSER.error("--file is given and the cell has a body too; leave one out")
    if file:
        return read_body(Path(file))
    if not text.strip():
        raise QueryError(["the cell has no query below its first line"], "Write the API's JSON there, or say --file.")
    return parse_json(text, "the cell")


class _Names:
    """Where ``{{name}}`` is looked up: ``-p``, then ``--params``, then the notebook's variables."""

    def __init__(self, options: argparse.Namespace, shell: InteractiveShell) -> None:
        self._given = dict(_parameter(text) for text in options.param)
        self._dict: Mapping[str, Any] = {}
        self._shell = shell
        self._used: set[str] = set()
        if options.params:
            found = shell.user_ns.get(options.params)
            if not isinstance(found, Mapping):
                what = "there is no such variable" if found is None else f"it is a {type(found).__name__}"
                PARSER.error(f"--params {options.params} names no dict: {what}")
            self._dict = found

    def fill(self, tree: dict[str, Any]) -> dict[str, Any]:
        """The same tree with every ``"{{name}}"`` replaced.

        Raises
        ------
        QueryError
            With everything that cannot be replaced.
        """
        problems: list[str] = []
        filled: dict[str, Any] = self._walk(tree, "", problems)
        if problems:
            raise QueryError(problems, "Give a value: -p name=value, --params DICT, or a variable of that name.")
        return filled

    def fill_text(self, text: str | None, option: str) -> Any:
        """The value of an option, which may be ``{{name}}`` as a whole."""
        return None if text is None else self.fill({option: text})[option]

    def check_all_used(self) -> None:
        """Refuse a ``-p`` that nothing asks for: its name is likely a slip.

        Raises
        ------
        QueryError
            Naming the first such parameter.
        """
        for name in self._given:
            if name not in self._used:
                PARSER.error(f"-p {name}: the query has no {{{{{name}}}}}.{nearest(name, tuple(self._used))}")

    def _walk(self, value: Any, path: str, problems: list[str]) -> Any:
        if isinstance(value, dict):
            return {key: self._walk(inner, f"{path}.{key}".lstrip("."), problems) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._walk(inner, f"{path}[{index}]", problems) for index, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = WHOLE.fullmatch(value)
        if whole:
            return self._value(whole[1], path, problems)
        if ANY.search(value):
            problems.append(f'{path}: only a whole value can be replaced, as in "{{{{name}}}}"; found {value!r}')
        return value

    def _value(self, name: str, path: str, problems: list[str]) -> Any:
        for place in (self._given, self._dict, self._shell.user_ns):
            if name in place:
                self._used.add(name)
                value = place[name]
                value = value.tolist() if hasattr(value, "tolist") else value  # numpy's scalars, arrays, Series
                if not _fits(value):
                    problems.append(f"{path}: {name} is a {type(place[name]).__name__}, which no query can hold")
                return value
        known = tuple(self._known())
        listing = ", ".join(known[:LISTED]) + (", …" if len(known) > LISTED else "")
        near = nearest(name, known)
        problems.append(f"{path}: {name} is not defined.{near} There are: {listing or 'none'}")
        return None

    def _known(self) -> Iterator[str]:
        yield from self._given
        yield from (str(name) for name in self._dict if name not in self._given)
        yield from _variables(self._shell)


def _variables(shell: InteractiveShell) -> Iterator[str]:
    """The notebook's own variables that a query can hold."""
    for name, value in shell.user_ns.items():
        if name not in shell.user_ns_hidden and not name.startswith("_") and _fits(value):
            yield name


def _parameter(text: str) -> tuple[str, Any]:
    """``name=value``; a value that is no JSON is text, and so is one that JSON would make a nameless number."""
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        PARSER.error(f'-p takes name=value, found "{text}"')
    try:
        typed = json.loads(value)
    except (ValueError, RecursionError):
        return name, value
    return name, typed if _fits(typed) else value


def _fits(value: Any) -> bool:
    """Whether a query can hold a value: JSON's own kinds, and times."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(_fits(inner) for inner in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _fits(inner) for key, inner in value.items())
    return value is None or isinstance(value, str | int | date | timedelta)
