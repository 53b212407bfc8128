"""The dials of the simulated bank, group by group.

Money is in CNY, time in months. *Latent experience* is a number on the scale of the 0–10 question, not clipped; a dial
"per point" is per point of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Selection = Literal["random", "dip", "trend"]
DRIVERS = ("branch_wait", "app", "rm_advice", "product_yield", "fees")
"""Parts of the experience that customers rate from 0 to 10."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What customers bring with them.

    Attributes:
        engagement_tilt: Points of experience per standard deviation of engagement, which also keeps customers.
        growth_mean: Mean monthly drift of a customer's log AUM.
        growth_sd: Standard deviation of that drift between customers.
        branch_growth_sd: Standard deviation of the drift between branches.
        proxy_reliability: Squared correlation of the observed logins and products with engagement.
        new_share: Share of customers who open their account inside the window.
        tenure: Half the mean months since the opening, at the start of the window, of the other customers.
        driver_weights: Weight of each driver of ``DRIVERS`` in latent experience.
    """

    engagement_tilt: float = 0.35
    growth_mean: float = -0.004
    growth_sd: float = 0.015
    branch_growth_sd: float = 0.0015
    proxy_reliability: float = 0.5
    new_share: float = 0.12
    tenure: float = 22.0
    driver_weights: tuple[float, ...] = (0.55, 0.40, 0.30, 0.20, 0.0)


@dataclass(frozen=True, kw_only=True)
class Experience:
    """How latent experience moves.

    Attributes:
        shock_sd: Standard deviation of the customer's AR(1) part.
        shock_memory: Its autocorrelation from month to month.
        branch_sd: Standard deviation of lasting differences between branches.
        branch_shock_sd: Standard deviation of a branch's AR(1) part.
        branch_shock_memory: Its autocorrelation.
        incident_rate: Probability of an incident a month.
        incident_drop: Points lost by an incident.
        incident_memory: Share of that loss still felt a month later.
        attention: Multiplies ``SegmentConfig.attention``; 0 switches the feedback from money to experience off.
        mood: Points per standard deviation of the month's market return.
    """

    shock_sd: float = 1.0
    shock_memory: float = 0.90
    branch_sd: float = 0.25
    branch_shock_sd: float = 0.20
    branch_shock_memory: float = 0.85
    incident_rate: float = 0.020
    incident_drop: float = 2.4
    incident_memory: float = 0.87
    attention: float = 1.0
    mood: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Money:
    """How money answers to experience.

    Log AUM moves each month by ``adjustment`` towards the level that goes with the current experience. That level
    bends: its slope is ``slope_above`` above 7, ``slope_below`` under 7, and steeper by ``slope_low`` under 5.5.

    Attributes:
        adjustment: Share of the gap closed each month.
        slope_above: Slope above 7, in units of ``SegmentConfig.money_response``.
        slope_below: Slope under 7.
        slope_low: Slope added under 5.5.
        start_sd: Standard deviation of log AUM around its level before the burn-in.
        shock_sd: Standard deviation of the monthly shocks to log AUM.
        shock_df: Degrees of freedom of those shocks (Student's t, above 2).
        market_mean: Mean monthly log return of the market.
        market_sd: Its standard deviation.
        zero_leave: Probability a month that a spell of zero balance ends.
        zero_tilt: Log rate of entering one, lost per point of experience.
        revenue_noise: Log standard deviation of monthly revenue around margin times AUM.
        fee: Fees a month per product held, CNY.
    """

    adjustment: float = 0.04
    slope_above: float = 0.7
    slope_below: float = 1.4
    slope_low: float = 3.0
    start_sd: float = 0.25
    shock_sd: float = 0.06
    shock_df: float = 4.0
    market_mean: float = 0.002
    market_sd: float = 0.025
    zero_leave: float = 0.25
    zero_tilt: float = 0.10
    revenue_noise: float = 0.15
    fee: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Exits:
    """What makes customers leave; the yearly levels stand in the segments.

    Attributes:
        experience: Log hazard of a voluntary exit, lost per point of experience.
        engagement: Log hazard lost per standard deviation of engagement.
        tenure: Log hazard lost per month of tenure, up to ten years.
        frailty: Standard deviation of the unobserved log hazard between customers.
        age: Log hazard of other exits per year of age.
    """

    experience: float = 0.22
    engagement: float = 0.20
    tenure: float = 0.004
    frailty: float = 0.4
    age: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Who is asked, who answers, and how an answer reads an experience.

    Attributes:
        every: Months between waves; the wave falls in the last month of each such period.
        style_sd: Standard deviation of a lasting habit of answering high or low.
        noise_sd: Standard deviation of the noise of one 0–10 answer.
        careless: Share of customers who always tick the best answer.
        by_experience: Response log odds per point of experience.
        by_extremes: Response log odds per point of distance from 7.
        by_engagement: Response log odds per standard deviation of engagement.
        by_tenure: Response log odds per standardised root of tenure.
        by_age: Response log odds per standard deviation of age.
        retest: Share of answers that are asked for again at once.
        csat_slope: Points of the 1–5 satisfaction answer per point of experience.
        csat_noise: Standard deviation of its own noise.
        ces_slope: Points of the 1–7 ease answer (7 is easiest) per point of experience.
        ces_noise: Standard deviation of its own noise.
        halo: Points of every driver rating per point of experience.
        rating_noise: Standard deviation of a driver rating's own noise.
        rating_missing: Share of driver ratings left empty.
    """

    every: int = 3
    style_sd: float = 0.60
    noise_sd: float = 1.20
    careless: float = 0.03
    by_experience: float = 0.12
    by_extremes: float = 0.15
    by_engagement: float = 0.30
    by_tenure: float = 0.15
    by_age: float = 0.10
    retest: float = 0.08
    csat_slope: float = 0.38
    csat_noise: float = 0.55
    ces_slope: float = 0.50
    ces_noise: float = 0.90
    halo: float = 0.35
    rating_noise: float = 0.9
    rating_missing: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A refit of branches, cohort by cohort; one more group of equal size is never treated.

    Attributes:
        starts: First month of each cohort, ascending.
        effects: Points of experience each cohort gains in the end.
        ramp: Months until the whole effect is there.
        selection: Who comes first: ``random`` by lot, ``dip`` the branches with the worst recent shocks, ``trend``
            those whose money grows fastest.
        direct: Change of log AUM that the refit causes without experience (0 means it works through experience alone).
    """

    starts: tuple[int, ...] = (12, 18, 24)
    effects: tuple[float, ...] = (0.80, 0.55, 0.35)
    ramp: int = 6
    selection: Selection = "random"
    direct: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The closed loop: whom the bank calls after a complaint or a score of 6 or less, and what a call does.

    Attributes:
        share: Share of an incident's remaining loss that a call takes away.
        lift: Points a call adds besides; they fade by 5% a month.
        hold_out: Share of customers who by lot are never called.
        call: Log odds of a call for an average customer in a branch without capacity.
        selection: Strength of the managers' choice by wealth, engagement and their unrecorded judgement of the client's
            growth.
        capacity: Log odds added in a month in which the branch has capacity.
    """

    share: float = 0.65
    lift: float = 0.35
    hold_out: float = 0.15
    call: float = -0.4
    selection: float = 1.0
    capacity: float = 1.2


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Season and promotions.

    Attributes:
        season: Multiplies the seasonal pattern of money (quarter ends, new year) and of experience.
        promotion_rate: Probability that a region has a promotion in a month; there are six regions.
        promotion_money: Change of log AUM in such a month.
        promotion_experience: Points of experience in such a month.
    """

    season: float = 1.0
    promotion_rate: float = 0.15
    promotion_money: float = 0.05
    promotion_experience: float = 0.20


@dataclass(frozen=True, kw_only=True)
class Touchpoints:
    """Behaviour and feedback.

    Attributes:
        logins: Logins a month of a customer of average engagement.
        login_engagement: Log rate of logins per standard deviation of engagement.
        failed_transfers: Failed transfers a month without an incident of the app.
        visits: Branch visits a month of a customer of average engagement.
        visit_engagement: Log rate of branch visits lost per standard deviation of (digital) engagement.
        incident_contacts: Service contacts that an incident adds.
        complain: Log odds that an incident is complained about.
        complain_engagement: Log odds added per standard deviation of engagement.
        praise: Praises a month at experience 7.
        praise_experience: Log rate of praise per point of experience.
        suggestion: Suggestions a month.
    """

    logins: float = 4.0
    login_engagement: float = 0.45
    failed_transfers: float = 0.02
    visits: float = 0.25
    visit_engagement: float = 0.25
    incident_contacts: float = 1.5
    complain: float = -0.2
    complain_engagement: float = 0.3
    praise: float = 0.004
    praise_experience: float = 0.5
    suggestion: float = 0.003


@dataclass(frozen=True, kw_only=True)
class Referrals:
    """What becomes of a referral; how often one is made stands in the segments.

    Attributes:
        experience: Log rate of referrals per point of experience.
        conversion: Probability that the person referred opens an account.
        displacement: Share of those who would have come anyway; no table shows it.
        days: Longest time from the referral to the opening.
    """

    experience: float = 0.30
    conversion: float = 0.30
    displacement: float = 0.40
    days: int = 60


@dataclass(frozen=True, kw_only=True)
class Role:
    """A part that people play in an account with several contacts.

    Attributes:
        name: The role's name in the table of contacts.
        weight: What the experience of this role counts for in the account's money and exit, relative to other roles;
            people who share a role share its weight.
        least: Fewest people with this role in an account.
        most: Most people.
        experience: Points by which their experience differs from the account's.
        response: Log odds by which they answer more or less often.
    """

    name: str
    weight: float
    least: int = 1
    most: int = 1
    experience: float = 0.0
    response: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Who answers for a customer: the customer, or the contacts of an account.

    Attributes:
        roles: The roles of contacts; empty in a bank whose customers answer for themselves.
        lasting_sd: Standard deviation of a contact's lasting difference from the account's experience.
        shock_sd: Standard deviation of the contact's own AR(1) part.
        shock_memory: Its autocorrelation from month to month.
        engagement: Squared correlation of a contact's engagement with the account's.
    """

    roles: tuple[Role, ...] = ()
    lasting_sd: float = 0.8
    shock_sd: float = 0.7
    shock_memory: float = 0.90
    engagement: float = 0.5
