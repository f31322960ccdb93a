"""The live table of a terminal: the last rows above a progress bar."""

from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from benchmarks._report import cells, name_of


class Live(Progress):
    """Bar and table while it runs, the whole table at the end."""

    def __init__(self, formats, cases):
        self.formats, self.rows = formats, []
        now = "{task.description}"
        super().__init__(
            BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), now, transient=True
        )
        self.task = self.add_task("", total=len(cases))

    def __exit__(self, *error):
        super().__exit__(*error)
        # A narrow terminal wraps its lines: no figure is cut.
        self.console.print(self._table(self.rows), width=200, crop=False)

    def start_case(self, case):
        """Name what runs now."""
        now = " ".join(str(name_of(value)) for value in case.values())
        self.update(self.task, description=now)

    def add(self, row):
        """Add one row and move the bar."""
        self.rows.append(row)
        self.advance(self.task)

    def get_renderables(self):
        """Fill the screen: the header and the bar take lines too."""
        yield self._table(self.rows[-max(get_console().height - 4, 1) :])
        yield from super().get_renderables()

    def _table(self, rows):
        table = Table(*self.formats, box=None, padding=(0, 1, 0, 0))
        for row in rows:
            style = "red" if row["error"] else ""
            table.add_row(*map(Text, cells(row, self.formats)), style=style)
        return table
