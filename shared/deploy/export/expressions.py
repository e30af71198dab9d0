"""The SQL of a pipeline's SQLTransformer stages as ONNX operations.

Terms of one form (the hundred hinges of a basis) become one set of operations on a matrix with a column for each term. Null
is NaN: a comparison with either is false, as it is where Spark chooses between branches, and not under NOT; the comparison
of both engines tells.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import sqlglot
from onnx import TensorProto
from sqlglot import exp
from sqlglot.errors import SqlglotError

from shared.deploy.export.graph import Graph, Place, unsupported

_BINARY: Final[Mapping[type[exp.Expression], str]] = {
    exp.Add: "Add",
    exp.Sub: "Sub",
    exp.Mul: "Mul",
    exp.Div: "Div",
    exp.Pow: "Pow",
    exp.GT: "Greater",
    exp.LT: "Less",
    exp.GTE: "GreaterOrEqual",
    exp.LTE: "LessOrEqual",
    exp.EQ: "Equal",
    exp.And: "And",
    exp.Or: "Or",
}
_UNARY: Final[Mapping[type[exp.Expression], str]] = {
    exp.Neg: "Neg",
    exp.Exp: "Exp",
    exp.Ln: "Log",
    exp.Sqrt: "Sqrt",
    exp.Abs: "Abs",
    exp.IsNan: "IsNaN",
    exp.Not: "Not",
}
_EXTREME: Final[Mapping[type[exp.Expression], str]] = {exp.Greatest: "Max", exp.Least: "Min"}
_LOGICAL: Final = (exp.GT, exp.LT, exp.GTE, exp.LTE, exp.EQ, exp.And, exp.Or, exp.Not, exp.Is, exp.IsNan, exp.Between)
_PARTS_OF_A_VECTOR: Final = r"[\[,\]]"


def transform(graph: Graph, statement: str) -> None:
    """Add what a statement ``SELECT *, term AS name … FROM __THIS__`` computes, and drop what it leaves out.

    Raises:
        ModelError: EXPORT_UNSUPPORTED; the statement holds what has no form here.
    """
    try:
        select = sqlglot.parse_one(statement, dialect="spark")
    except SqlglotError as error:
        raise unsupported(f"a statement that cannot be read: {error}") from error
    if not isinstance(select, exp.Select) or set(_arguments(select)) - {"expressions", "from", "from_", "kind"}:
        raise unsupported(f"the statement {statement[:80]!r}, which is no plain SELECT")
    terms: dict[Any, list[tuple[str, exp.Expression]]] = {}
    dropped: list[str] = []
    for item in select.expressions:
        if isinstance(item, exp.Star):
            dropped += [column.name for column in item.args.get("except_") or item.args.get("except") or []]
        elif isinstance(item, exp.Alias):
            if item.find(exp.Column) is None:
                raise unsupported(f"the expression {item.sql(dialect='spark')!r}, which reads no column")
            terms.setdefault(_form(item.this), []).append((item.alias, item.this))
        else:
            raise unsupported(f"the term {item.sql()!r} without a name")
    made = [([name for name, _ in alike], _matrix(graph, [term for _, term in alike])) for alike in terms.values()]
    for name in dropped:
        graph.columns.pop(name, None)  # what is not exported (a class, raw scores) is not there to drop
    for names, tensor in made:
        graph.put(tensor, names)


def _arguments(select: exp.Select) -> list[str]:
    return [name for name, value in select.args.items() if value]


def _form(term: exp.Expression) -> Any:
    """Return the shape of a term: what is left of it without the names of columns and the values of numbers."""
    match term:
        case exp.Column():
            return "column"
        case exp.Literal():
            return ("text", term.this) if term.is_string else "number"
        case exp.DataType():
            return term.sql()
    return (type(term).__name__, *((name, _form_of(value)) for name, value in sorted(term.args.items())))


def _form_of(value: Any) -> Any:
    if isinstance(value, exp.Expression):
        return _form(value)
    return tuple(_form_of(item) for item in value) if isinstance(value, list) else value


def _matrix(graph: Graph, terms: Sequence[exp.Expression]) -> str:
    """Return the matrix with a column for each of the terms, which are of one form."""
    first = terms[0]
    match first:
        case exp.Column():
            return graph.gather([term.name for term in terms])
        case exp.Literal() if not first.is_string:
            return graph.constant(np.array([[float(term.this) for term in terms]]))
        case exp.Null():
            return graph.constant(np.full((1, len(terms)), np.nan))
        case exp.Paren():
            return _matrix(graph, _parts(terms, "this"))
        case exp.Cast():  # and TryCast, which is one
            return _cast(graph, terms)
        case exp.If():
            return graph.add("Where", *_each(graph, terms, "this", "true", "false"))
        case exp.Case():
            return _case(graph, terms)
        case exp.Between():
            value, low, high = _each(graph, terms, "this", "low", "high")
            return graph.add("And", graph.add("GreaterOrEqual", value, low), graph.add("LessOrEqual", value, high))
        case exp.Is() if isinstance(first.expression, exp.Null):
            return graph.add("IsNaN", *_each(graph, terms, "this"))
        case exp.Coalesce():
            return _coalesce(graph, terms)
        case exp.Bracket():
            return _element(graph, terms)
    kind = type(first)
    if kind in _BINARY:
        return graph.add(_BINARY[kind], *_each(graph, terms, "this", "expression"))
    if kind in _UNARY:
        return graph.add(_UNARY[kind], *_each(graph, terms, "this"))
    if kind in _EXTREME:
        return graph.add(_EXTREME[kind], *_each(graph, terms, "this"), *_others(graph, terms))
    raise unsupported(f"the expression {first.sql(dialect='spark')[:80]!r}")


def _parts(terms: Sequence[exp.Expression], name: str) -> list[exp.Expression]:
    parts = [term.args.get(name) for term in terms]
    if not all(isinstance(part, exp.Expression) for part in parts):
        raise unsupported(f"the expression {terms[0].sql(dialect='spark')[:80]!r}")
    return [part for part in parts if isinstance(part, exp.Expression)]


def _each(graph: Graph, terms: Sequence[exp.Expression], *names: str) -> Iterator[str]:
    return (_matrix(graph, _parts(terms, name)) for name in names)


def _others(graph: Graph, terms: Sequence[exp.Expression]) -> list[str]:
    count = len(terms[0].expressions)
    return [_matrix(graph, [term.expressions[place] for term in terms]) for place in range(count)]


def _cast(graph: Graph, terms: Sequence[exp.Expression]) -> str:
    if not all(term.args["to"].is_type(exp.DataType.Type.DOUBLE) for term in terms):
        raise unsupported(f"the expression {terms[0].sql(dialect='spark')[:80]!r}")
    inner = _parts(terms, "this")
    value = _matrix(graph, inner)
    is_logical = isinstance(inner[0].unnest(), _LOGICAL)
    return graph.add("Cast", value, to=TensorProto.DOUBLE) if is_logical else value


def _case(graph: Graph, terms: Sequence[exp.Expression]) -> str:
    """Return the first branch whose condition holds, else the last: built from the end."""
    if any(term.args.get("this") for term in terms):
        raise unsupported(f"the expression {terms[0].sql(dialect='spark')[:80]!r}")
    default = [term.args.get("default") or exp.Null() for term in terms]
    value = _matrix(graph, default)
    for place in reversed(range(len(terms[0].args["ifs"]))):
        branch = [term.args["ifs"][place] for term in terms]
        condition, chosen = _each(graph, branch, "this", "true")
        value = graph.add("Where", condition, chosen, value)
    return value


def _coalesce(graph: Graph, terms: Sequence[exp.Expression]) -> str:
    values = [*_each(graph, terms, "this"), *_others(graph, terms)]
    result = values[-1]
    for value in reversed(values[:-1]):
        result = graph.add("Where", graph.add("IsNaN", value), result, value)
    return result


def _element(graph: Graph, terms: Sequence[exp.Expression]) -> str:
    """Return an element of a vector, which Spark's SQL can only take out of the vector's text: ``[a,b]``."""
    return graph.slices([_element_of(graph, term) for term in terms])


def _element_of(graph: Graph, term: exp.Expression) -> Place:
    split, place = term.this, term.expressions[0]
    is_split = isinstance(split, exp.RegexpSplit | exp.Split) and split.expression.name == _PARTS_OF_A_VECTOR
    column = split.this.this if is_split and isinstance(split.this, exp.Cast) else None
    if not isinstance(column, exp.Column) or not re.fullmatch(r"[1-9]\d*", place.name):
        raise unsupported(f"the expression {term.sql(dialect='spark')[:80]!r}")
    vector, index = graph.place(column.name), int(place.name) - 1
    return Place(vector.tensor, vector.start + index, 1)
