"""`parrot eval`: what a model can do in each language, and runs beside each other."""

from parrot_cli.eval.compare import compare, radar
from parrot_cli.eval.run import evaluate
from parrot_cli.program import Program

app = Program(help="Measure every language, on MMMB, MMBench and the rest.")
app.callback(invoke_without_command=True)(evaluate)
app.command()(compare)
app.command()(radar)
