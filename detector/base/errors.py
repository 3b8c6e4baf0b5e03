"""The one kind of error that a user can cause and mend."""


class ExpectedError(Exception):
    """Bad input or surroundings: one sentence saying what is wrong, where, and what to do.

    The stages print the sentence without a traceback and exit with code 1. Anything else that is
    raised is a defect of this repository and keeps its traceback.
    """
