"""The review page's parts put together: stores, the API, what makes recordings findable and draws samples.

Owns nothing but the order in which they are made; `app` starts and stops what runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mediaserver.api.live_routes import LiveRoom
from mediaserver.api.oidc import Issuer
from mediaserver.api.review_people import ReviewGate
from mediaserver.api.review_routes import ReviewApi
from mediaserver.api.review_words import search_of
from mediaserver.clock import Clock
from mediaserver.recording.findable import Findable
from mediaserver.recording.sampling import Sampler
from mediaserver.settings import OidcSettings
from mediaserver.store.calibrations import CalibrationStore
from mediaserver.store.database import Database
from mediaserver.store.review import ReviewStore
from mediaserver.store.review_answers import AnswerStore
from mediaserver.store.review_search import CallSearch
from mediaserver.store.reviewers import ReviewerStore
from mediaserver.store.sampling import SamplingStore
from mediaserver.store.score_reports import ScoreReports
from mediaserver.store.scorecards import ScorecardStore

if TYPE_CHECKING:
    from mediaserver.app_facade import ServerFacade


class Reviewing:
    def __init__(
        self,
        database: Database,
        facade: ServerFacade,
        clock: Clock,
        calls_running: Callable[[], int],
        live: LiveRoom,
        oidc: OidcSettings,
    ) -> None:
        """Raises ConfigError."""
        reviews, people = ReviewStore(database), ReviewerStore(database)
        search, sampling = CallSearch(database), SamplingStore(database)
        self.sampler = Sampler(sampling, people, search, search_of, clock)
        self.findable = Findable(reviews, facade.lanes, calls_running, clock)
        self.api = ReviewApi(
            ReviewGate(people, clock),
            people,
            reviews,
            search,
            facade,
            facade.sealed_audio,
            ScorecardStore(database),
            ScoreReports(database),
            AnswerStore(database),
            sampling,
            self.sampler,
            CalibrationStore(database),
            live,
            Issuer(oidc, clock) if oidc.issuer else None,
        )
