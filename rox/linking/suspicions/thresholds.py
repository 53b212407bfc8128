"""Where the data contract draws its lines, and why there.

A fault must be certain, for it stops the work: its lines are such that no company's honest tables come near them. A
suspicion only has to be worth a look.
"""

from __future__ import annotations

CHANCE = 0.001
"""Probability below which something is no accident, shared out over everything looked at (Bonferroni)."""

ODDS_APART = 5.0
"""Groups of one company differ: private clients may leave at a fifth of the common odds, newcomers at five times them.
A group without any exit is odd only if even that does not explain it."""

MOST_LEVELS = 50
"""A numeric control with more values than this is a quantity; with fewer its values are groups too."""

LEAST_OF_A_LEVEL = 5
"""Groups smaller than this are not fetched: nothing can be concluded from them, and they may be persons."""

LEAST_EVENTS = 20
"""Leavers, and stayers, below which how well a column tells them apart is not measured."""

PERFECT_AUC = 0.98
"""Area under the ROC curve from which a column knows the outcome. Good churn models on honest columns reach 0.8 to 0.9
(Verbeke et al. 2012, EJOR 218)."""

SAME_ORDER = 0.999
"""Rank correlation from which two columns are one quantity: month to month, balances of one customer reach 0.99."""

LEAST_ORDERED = 50
"""Customers below which a rank correlation of 0.999 can be luck."""

TWIN_AMOUNTS = 4
"""Distinct amounts from which two equal ledgers are no coincidence of a tariff or of an empty account."""

MANY_TWINS = 0.01
"""Share of customers from which twins bear on every head-count and standard error."""

ALIKE_QUESTIONS = 3
"""Questions answered alike on one day from which two answers are one; a single 10 comes twice by chance."""

NEARLY_ALL = 0.9
"""Share of a day's second answers that repeat the first one from which it is no chance even for a single question."""

CODES_ABOVE = (97, 98, 99, 997, 998, 999, 9997, 9998, 9999, 99999, 999999, 9999999, 99999999, 999999999)
"""Numbers that stand for "refused", "unknown" or "not asked" in questionnaires and old systems."""

CODES_BELOW = (-1, -2, -7, -8, -9, -97, -98, -99, -998, -999, -9999, -99999, -999999, 1900)
"""The same below the rest of a column; 1900 is the year of birth where none is known."""

LEAST_CODED = 5
"""Rows with a code below which it may as well be a value."""

SPIKE = 3.0
"""A code is a spike if it occurs this many times as often as the neighbouring tenth of the other values."""

MONEY_APART = 10.0
"""Times the next largest amount from which an amount such as 99999 is a code; prices like to end in nines."""

ONE_DAY = 0.90
"""Share of all answers on one day from which the day is that of an import or of the file, not of the answering.
Even a survey sent in one hour is answered over days."""

LEAST_ANSWERS = 100
"""Answers below which a pattern in them is not looked for."""

ONE_CLOCK = 0.50
"""Share of instants at one full hour other than midnight from which they are midnights of another time zone."""

EXIT_WEEK_DAYS, BEFORE_DAYS = 7, 56
"""An answer in the week before the exit is compared with the eight weeks before it."""

EXIT_WEEK_TIMES = 3.0
"""Times the usual number of answers in the week before exits from which leaving is what prompts the question."""

KNOWN_LATE = 0.05
"""Share of scores first known in a later month than the answer from which money met scores nobody had."""

HALF = (0.45, 0.55)
"""Share of leavers that is typical of a sample drawn by outcome, half leavers and half stayers."""

LEAST_CUSTOMERS = 200
"""Customers below which the share of leavers is not looked at."""

SIMPLE_SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.7, 0.75, 0.8, 0.9)
"""What people choose as the share of a hold-out."""

MISMATCH = 0.001
"""p-value of the sample-ratio test (Fabijan et al. 2019, KDD)."""

USED_SCALE_ANSWERS = 200
"""Answers to a question below which the unused part of its scale says nothing."""

LOWEST_USED = 50
"""Ones on a scale from 0 to 10 from which it is odd that nobody ticked 0, which comes at least a third as often."""

NEW_END, MOVED_END = 0.05, 0.25
"""Share of answers beyond the old upper end of a scale, and share of the scale by which the end has moved, from which
it is another scale: 5 to 10, 7 to 10, 5 to 7."""

SURE = 1e-6
"""Probability below which a scale is said to have changed; it stops the work."""

AGAINST = -0.2
"""Correlation of two questions below which one of their scales is reversed, if the interval is below 0 too."""

LEAST_MONTH_ROWS = 50
"""Rows of a month below which its amounts are too few to compare with those of the month before."""

UNIT_DIGITS = (2, 3, 4, 6)
"""Digits a change of unit adds or takes away: cents, thousands, ten thousands, millions."""

DIGITS_APART = 0.25
"""How far from such a number the change of the mean number of digits may be."""

JUMP_DIGITS = 1.0
"""Change of the mean number of digits from one month to the next, whatever its size: tenfold amounts."""

ONE_SIGN, OTHER_SIGN = 0.9, 0.1
"""Shares of amounts above zero between which the sign has been turned around."""

FEW_ROWS = 0.6
"""Share of the rows of the neighbouring months below which a month was loaded in part."""

LATE_EXIT_MONTHS = 3
"""Months between the last money and the exit from which the exit was recorded long after the customer had gone."""

LATE_EXITS = 0.10
"""Share of the leavers from which late records are the rule of the house, not single cases."""

MOST_RANKED = 200_000
"""Customers that are ranked; of more, every k-th row is enough, for what is looked for is near perfect."""

MANY_ANSWERS, LONG_SPAN, RETURN_DAYS = 500, 365, 28
"""Customers and days from which it is odd that nobody answered again, four weeks or more after a first answer."""
