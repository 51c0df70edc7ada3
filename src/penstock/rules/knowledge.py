"""What a process knows of an account: directory, products, channels, controls, profiles, index.

Owns keeping it current: every pass learns in its first round trip which revisions are current and
reloads what has changed, before it decides; between passes the follower's pulse does the same, so
that a network switched off is out of availability at once. Also plans for demands, from the index
or from locked values, and gives the terms on which stock is decided.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.access.attribute_types import AttributeTypes, load_attribute_types
from penstock.access.channels import Channels, load_channels
from penstock.access.settings import load_settings
from penstock.availability.candidates import (
    LockedRows,
    View,
    apart,
    heed_limits,
    locked_rows,
    shelves_of,
    stock_of,
    wanted_by,
)
from penstock.availability.candidates import Terms as StockTerms
from penstock.availability.controls import Controls, load_controls, read_uses
from penstock.availability.index import Index
from penstock.availability.limits import Uses
from penstock.catalogue.products import Products, load_products, refresh_products
from penstock.clock import Clock
from penstock.db import Database, Tx
from penstock.engine.compiled import Workflow
from penstock.engine.readable import Vocabulary, load_vocabulary
from penstock.engine.workflows import Workflows, load_workflows
from penstock.errors import Refusal
from penstock.events.stream import append_changes
from penstock.inventory.ledger import Ledger
from penstock.inventory.limit_rules import Limits, load_limits
from penstock.inventory.lots import load_tracked, settle_lots
from penstock.inventory.model import Terms, UseKey
from penstock.inventory.store import CapacityKey, read_capacity
from penstock.network.directory import Directory, load_directory
from penstock.network.pickup_slots import SlotsUsed, read_slots_used
from penstock.network.profiles import load_profiles
from penstock.orders.intake import OrderInput
from penstock.passes import Pass, run_pass
from penstock.rules.dates import Dates, load_dates
from penstock.rules.keeping import Keeping, Places, Source, plan_keeping
from penstock.rules.subjects import tell_crossings
from penstock.sourcing.kits import ShelfStock, source_kits
from penstock.sourcing.model import UNLIMITED, Candidates, Demand, Locations, Plan, Profile
from penstock.sourcing.source import source

T = TypeVar("T")
# What is counted on capacities, and on caps and ring-fences.
Used = tuple[Mapping[CapacityKey, int], Callable[[UseKey], int]]


class Knowledge:
    """Everything a process knows of one account, and the passes it runs with it."""

    channels: Channels
    directory: Directory
    products: Products
    controls: Controls
    profiles: Mapping[int | None, Profile]
    workflows: Workflows
    limits: Limits

    def __init__(self, database: Database, schema: str, clock: Clock) -> None:
        self.database = database
        self.schema = schema
        self.clock = clock
        self.index = Index()
        self.revisions: Mapping[str, int] = {}
        self.capacity_used: dict[CapacityKey, int] = {}
        self.uses = Uses()
        self.vocabulary: Vocabulary = load_vocabulary()
        self.settings: Mapping[str, Any] = {}
        self.dates = Dates()
        self.slots_used: SlotsUsed = {}
        self.attribute_types: AttributeTypes = {}
        self.lot_products: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._channel_views: dict[int | None, dict[str, Any]] = {}
        self._workflows_of: dict[tuple[str, str, int | None], Workflow | None] = {}

    async def run_pass(self, kind: str, work: Callable[[Pass], Awaitable[T]]) -> T:
        """Run a pass that knows what this process knows, brought up to date first.

        After COMMIT the pass's own journal entries are applied to the index at once.
        """

        async def knowing(tx: Pass) -> T:
            tx.knowledge = self
            await self.refresh(tx, tx.revisions)
            tx.on_commit.append(lambda: self._apply(tx))
            result = await work(tx)
            if len(self.lot_products):
                await settle_lots(tx, self.lot_products)
            await tell_crossings(tx, self)
            return result

        return await run_pass(self.database, self.schema, kind, self.clock.now, knowing)

    def _apply(self, tx: Pass) -> None:
        for entries in tx.entries:
            self.index.apply(entries)

    async def refresh(self, tx: Tx, revisions: Mapping[str, int]) -> None:
        """Reload whatever has another revision than what is held."""
        if revisions == self.revisions:
            return
        stale = {name for name, value in revisions.items() if self.revisions.get(name) != value}
        if stale & {"channel", "network"}:
            self.channels = await load_channels(tx)
            self.directory = await load_directory(tx, self.channels)
        if "catalogue" in stale:
            await self._refresh_products(tx)
        if stale & {"control", "channel", "network"}:
            await self._refresh_controls(tx)
        if stale & {"sourcing", "channel"}:
            self.profiles = await load_profiles(tx)
        if stale & {"limit", "channel", "catalogue"}:
            self.limits = await load_limits(tx)
        await self._refresh_words(tx, stale)
        if stale & {"carrier", "network"}:
            self.dates = await load_dates(tx, self.directory.refs)
        self.revisions = dict(revisions)

    async def _refresh_words(self, tx: Tx, stale: set[str]) -> None:
        if "attribute" in stale:
            self.attribute_types = await load_attribute_types(tx)
        if "lot" in stale:
            self.lot_products = await load_tracked(tx)
        if "workflow" in stale:
            self.vocabulary = load_vocabulary()  # a package may be new
            self.workflows = await load_workflows(tx, self.vocabulary)
        if stale & {"channel", "workflow"}:
            self.settings = await load_settings(tx)
            self._channel_views = {}
            self._workflows_of = {}

    async def _refresh_products(self, tx: Tx) -> None:
        held = self.revisions.get("catalogue")
        if held is None:
            self.products = await load_products(tx)
        else:
            await refresh_products(tx, self.products, held)

    async def _refresh_controls(self, tx: Tx) -> None:
        self.controls = await load_controls(tx, self.channels, self.directory)
        if self.controls.counters.rules:
            self.uses.replace(await read_uses(tx))

    async def refresh_from(self, revisions: Mapping[str, int]) -> None:
        """Reload between passes, when the follower has seen other revisions."""

        async def work(tx: Tx) -> None:
            await self.refresh(tx, revisions)

        await self.database.run(self.schema, work)

    async def refresh_dates(self) -> None:
        """Read again what was learnt of locations and lanes."""

        async def work(tx: Tx) -> Dates:
            return await load_dates(tx, self.directory.refs)

        dates = await self.database.run(self.schema, work)
        if not dates.is_like(self.dates):  # what was made from the same stays
            self.dates = dates

    async def refresh_capacity(self) -> None:
        """Read what is counted on the working days of now, and on controls, for proposals."""
        now, directory = self.clock.now(), self.directory
        days = sorted(
            {d for one in directory.daily_limit for d in directory.working_days(now, one)}
        )

        async def work(tx: Tx) -> dict[CapacityKey, int]:
            if self.controls.counters.rules:
                self.uses.replace(await read_uses(tx))
            self.slots_used = await read_slots_used(tx, now)
            return await read_capacity(tx, days)

        self.capacity_used = await self.database.run(self.schema, work)

    def workflow_of(self, kind: str, entity_type: str, channel_id: int | None) -> Workflow | None:
        """Return the active workflow of an entity's type in a channel, if there is one."""
        key = (kind, entity_type, channel_id)
        if key not in self._workflows_of:
            path = self.channels.path(channel_id) if channel_id is not None else []
            self._workflows_of[key] = self.workflows.find(kind, entity_type, path)
        return self._workflows_of[key]

    def workflow_for(self, kind: str, entity_type: str, channel_id: int | None) -> Workflow:
        """Return the active workflow; refuses with `unknown_order_type` or `no_workflow`."""
        workflow = self.workflow_of(kind, entity_type, channel_id)
        if workflow is None:
            raise self.workflows.lacking(kind, entity_type)
        return workflow

    def channel_view(self, channel_id: int | None) -> dict[str, Any]:
        """Return what expressions may read of a channel: ref, and settings with the account's."""
        view = self._channel_views.get(channel_id)
        if view is None:
            ref, own = "", {}
            if channel_id is not None:
                ref, own = self.channels.refs[channel_id], self.channels.settings(channel_id)
            view = {"ref": ref, "settings": {**self.settings, **own}}
            self._channel_views[channel_id] = view
        return view

    # ── resolving refs ────────────────────────────────────────────────────────────────────────

    def channel_id(self, ref: str) -> int:
        """Return a channel's id; refuses with `unknown_channel`."""
        channel_id = self.channels.by_ref.get(ref)
        if channel_id is None:
            raise Refusal("unknown_channel", f"There is no channel {ref!r}.", channel=ref)
        return channel_id

    def location_id(self, ref: str) -> int:
        """Return a location's id; refuses with `unknown_location`."""
        location_id = self.directory.by_ref.get(ref)
        if location_id is None:
            raise Refusal("unknown_location", f"There is no location {ref!r}.", location=ref)
        return location_id

    def location_ref(self, location_id: int) -> str:
        """Return the ref of a location."""
        return self.directory.refs[self.directory.row_of[location_id]]

    def product_id(self, channel_id: int, sku: str) -> int:
        """Return a product's id in the channel's catalogue; refuses with `unknown_sku`.

        A SKU that is switched off is refused with `sku_off`.
        """
        known = self.products.by_sku(self.channels.catalogue_id(channel_id))
        product_id = known.get(sku, -1)
        if product_id < 0:
            raise Refusal("unknown_sku", f"There is no SKU {sku!r} in this channel.", sku=sku)
        if not self.products.is_on[product_id]:
            raise Refusal("sku_off", f"SKU {sku!r} is switched off.", sku=sku)
        return product_id

    async def learn_skus(self, tx: Tx, orders: Iterable[OrderInput]) -> None:
        """Ask the database once for SKUs that are not known yet: they may have been made since."""
        lacking: dict[int, set[str]] = {}
        for order in orders:
            try:
                catalogue_id = self.channels.catalogue_id(self.channel_id(order.channel))
            except Refusal:  # the order's own affair, when it is made
                continue
            known = self.products.by_sku(catalogue_id)
            for lines in (order.lines, *(choice.lines for choice in order.choices)):
                skus = {line.sku for line in lines if line.sku not in known}
                if skus:
                    lacking.setdefault(catalogue_id, set()).update(skus)
        for catalogue_id, skus in lacking.items():
            await self.products.resolve(tx, catalogue_id, sorted(skus))

    def currency(self, channel_id: int) -> str:
        """Return the channel's currency, its own or inherited; refuses with `no_currency`."""
        currency = self.channels.currency(channel_id)
        if currency is None:
            raise Refusal("no_currency", "Neither the order nor its channel names a currency.")
        return currency

    async def append_changes(self, tx: Pass, changes: Sequence[Any]) -> None:
        """Append changes to the stream."""
        await append_changes(tx, changes)

    # ── planning ──────────────────────────────────────────────────────────────────────────────

    def profile(self, channel_id: int) -> Profile:
        """Return the active sourcing profile of a channel, its own or inherited."""
        for one in (*self.channels.path(channel_id), None):
            if one in self.profiles:
                return self.profiles[one]
        ref = self.channels.refs[channel_id]
        sentence = (
            f"Channel {ref!r} has no active sourcing profile, which says what carriage costs: "
            "store one with `penstock import profiles FILE`."
        )
        raise Refusal("no_sourcing_profile", sentence, channel=ref)

    def plan(self, demands: Sequence[Demand], now: datetime) -> list[Plan]:
        """Propose plans from the index; they may be late, and stock decides."""
        return self._plan(demands, now, self.index, (self.capacity_used, self.uses.get))

    def candidates(self, demands: Sequence[Demand], now: datetime) -> Candidates:
        """Return where demands may be met, as the index has it."""
        return self._candidates(demands, now, self.index, (self.capacity_used, self.uses.get))

    def _plan(
        self,
        demands: Sequence[Demand],
        now: datetime,
        positions: Source,
        used: Used,
    ) -> list[Plan]:
        if not isinstance(positions, Places) and any(demand.held for demand in demands):
            how = Keeping(lambda some, rows: self._plan(some, now, rows, used), positions)
            return plan_keeping(demands, how)
        plans: dict[int, Plan] = {}
        by_profile: dict[int, list[int]] = {}
        profiles: dict[int, Profile] = {}
        for place, demand in enumerate(demands):
            profile = self.profile(demand.channel_id)
            if demand.kits and not isinstance(positions, Places):
                plans[place] = self._plan_kits(demand, now, positions, used)
                continue
            profiles[id(profile)] = profile
            by_profile.setdefault(id(profile), []).append(place)
        for key, places in by_profile.items():
            mine = [demands[place] for place in places]
            candidates = self._candidates(mine, now, positions, used)
            found = source(mine, candidates, profiles[key], now)
            plans.update(zip(places, found, strict=True))
        return [plans[place] for place in range(len(demands))]

    def _plan_kits(
        self, demand: Demand, now: datetime, positions: Index | LockedRows, used: Used
    ) -> Plan:
        directory, profile = self.directory, self.profile(demand.channel_id)
        each = apart(demand)
        candidates = self._candidates([each], now, positions, used)
        shelves = shelves_of(candidates.stock, each)

        def propose(wanted: Demand, stock: ShelfStock) -> Plan:
            seen = msgspec.structs.replace(candidates, stock=stock)
            return source([wanted], seen, profile, now)[0]

        return source_kits(demand, shelves, directory.row_of, (propose, profile))

    def _candidates(
        self,
        demands: Sequence[Demand],
        now: datetime,
        positions: Source,
        used: Used,
    ) -> Candidates:
        directory = self.directory
        keys = {(demand.channel_id, demand.service) for demand in demands}
        locations = Locations(
            directory.location_ids,
            directory.unit_xyz,
            directory.handling_cost_minor,
            directory.handling_min,
        )
        moment = self.controls.at(now)
        if isinstance(positions, Places):
            stock = positions.stock(demands, directory.row_of)
        else:
            terms, wanted = StockTerms(self.controls, moment), wanted_by(demands)
            view = View(
                moment,
                used[1],
                directory,
                lambda one: directory.serving(one.channel_id, one.service, now),
            )
            stock = stock_of(positions, wanted, terms, directory.row_of)
            stock = heed_limits(stock, demands, view)
        return Candidates(
            locations=locations,
            serving={key: directory.serving(*key, now) for key in keys},
            removed_by={key: directory.removed_by(*key, now) for key in keys},
            capacity_left=self._capacity_left({key[1] for key in keys}, now, used[0]),
            stock=stock,
        )

    def _capacity_left(
        self, services: Iterable[str], now: datetime, used: Mapping[CapacityKey, int]
    ) -> dict[str, NDArray[np.int32]]:
        directory = self.directory
        result: dict[str, NDArray[np.int32]] = {}
        for service in services:
            limits = directory.daily_limit.get(service)
            if limits is None:
                continue
            days = directory.working_days(now, service)
            left = np.where(limits < 0, UNLIMITED, limits).astype(np.int32)
            for row in np.flatnonzero(limits >= 0).tolist():
                key = (int(directory.location_ids[row]), service, days[row])
                left[row] -= used.get(key, 0)
            result[service] = left
        return result

    def terms(self, now: datetime) -> Terms:
        """Return the terms on which stock is decided at an instant."""
        directory = self.directory

        def working_day(location_id: int, service: str) -> date:
            return directory.working_days(now, service)[directory.row_of[location_id]]

        def capacity_limit(location_id: int, service: str) -> int:
            limits = directory.daily_limit.get(service)
            return -1 if limits is None else int(limits[directory.row_of[location_id]])

        def replan(demands: Sequence[Demand], ledger: Ledger) -> list[Plan]:
            rows = locked_rows(ledger.positions.values())
            used = (ledger.capacity_used, lambda key: ledger.uses.get(key, 0))
            return self._plan(demands, now, rows, used)

        moment = self.controls.at(now)
        return Terms(
            floor=moment.floor_of,
            capacity_limit=capacity_limit,
            working_day=working_day,
            replan=replan,
            counted=self.capacity_used.update,
            counting=moment.counting if moment.has_counted else None,
            sells=self.controls.sells_one,
            used=self.uses.update,
        )
