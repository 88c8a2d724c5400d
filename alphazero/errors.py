"""Errors that commands report in one line; importing this module takes no time."""

LONGEST_REASON = 300
"""Characters of an error's text that are shown at the most."""


class RunFailed(RuntimeError):
    """A run that cannot continue although its input was correct; its message is one line.

    Raised for instance where a loss is not finite or a cluster has been lost. Bad input raises
    ``ValueError`` instead.
    """


def reason(error: BaseException) -> str:
    """The cause of an error, which may be of any library, in one line; its type if it has no text.

    The texts of Ray's errors are tracebacks and those of pydantic's begin with a count of errors:
    of the former the cause is named, of the latter each error.
    """
    error = getattr(error, "cause", None) or error
    text = str(error)
    details = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and details is not None:
        text = "; ".join(_validation_problem(detail) for detail in details())
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


def _validation_problem(detail: dict) -> str:
    place = ".".join(map(str, detail["loc"]))
    return f"{place}: {detail['msg']}" if place else detail["msg"]
