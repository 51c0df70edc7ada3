"""A small account whose rows agree with each other, in plain SQL, for tests of the audit.

Independent of the rooms that write such rows. Ids are small numbers made UUIDs by `uid`.
"""

from __future__ import annotations


def uid(n: int) -> str:
    return f"'00000000-0000-7000-8000-{n:012d}'"


# Passes 1 to 3; positions 1 to 3; order 100 allocated over two locations, 200 unsourced, 300
# cancelled, 400 shipped. Position 1 is counted (10), takes 4, 3 shipped; 2 is counted, takes 2;
# 3 is counted 5, takes 5, is counted 3: short by count.
JOURNAL_COLUMNS = """id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
previous_ids, counted_ats, moves_on_hand"""


def journal_row(journal_id: int, pass_no: int, entries: list[tuple[int, ...]]) -> str:
    """Write a journal row of (position, cause, deltas, results, version, previous row) entries."""
    columns = [list(column) for column in zip(*entries, strict=True)]
    ids, kinds, moved, taken, on_hands, reserveds, versions, previous = columns
    ones, cause = [1] * len(ids), ", ".join([uid(100) + "::uuid"] * len(ids))
    return (
        f"INSERT INTO journal ({JOURNAL_COLUMNS}) VALUES ({journal_id}, {uid(pass_no)}, now(), "
        f"ARRAY{ids}, ARRAY{ones}, ARRAY{ids}, ARRAY{ones}, ARRAY{kinds}, ARRAY[{cause}], "
        f"ARRAY{moved}, ARRAY{taken}, ARRAY{on_hands}, ARRAY{reserveds}, ARRAY{versions}, "
        f"ARRAY{previous}, ARRAY{[0] * len(ids)}, false);"
    )


DOCUMENT = """{"statuses": [{"name": "allocated", "category": "open"},
{"name": "unsourced", "category": "open"}, {"name": "cancelled", "category": "done"},
{"name": "shipped", "category": "done"}, {"name": "payment", "category": "waiting"}]}"""


def order_rows(order_id: int, status: str, seq: int) -> str:
    columns = "channel_id, ref, type, workflow_id, status, currency, placed_at, created_at"
    return f"""
    INSERT INTO order_ref VALUES (1, 'R{order_id}', {uid(order_id)}, '');
    INSERT INTO orders (id, {columns}, seq, version, total_minor, attributes) VALUES
        ({uid(order_id)}, 1, 'R{order_id}', 'home', 1, '{status}', 'GBP', now(), now(), {seq}, 1,
         100, '{{}}');
    INSERT INTO choice (id, order_id, ordinal, status, service, destination, ship_complete) VALUES
        ({uid(order_id + 1)}, {uid(order_id)}, 1, '{status}', 'deliver', '{{}}', false);
    INSERT INTO event (pass_id, ordinal, occurred_at, root_kind, root_id, seq, entity, entity_id,
                       name, payload)
        SELECT {uid(2)}, n, now(), 'order', {uid(order_id)}, n, 'order', {uid(order_id)}, 'x',
               '{{}}'
        FROM generate_series(1, {seq}) AS n;
    """


def entity_row(entity_id: int, status: str, seq: int) -> str:
    return f"""
    INSERT INTO entity (id, kind, ref, type, workflow_id, status, seq, version, attributes,
                        created_at, changed_at)
    VALUES ({uid(entity_id)}, 'payment', 'E{entity_id}', 'default', 1, '{status}', {seq}, 1, '{{}}',
            now(), now());
    """


def line_row(line_id: int, product: int, *counters: int) -> str:
    """Write a line; counters are qty, allocated, unsourced, shipped, cancelled."""
    order_id = line_id // 100 * 100
    return f"""
    INSERT INTO order_line (id, order_id, choice_id, ordinal, ref, product_id, sku, status, qty,
        qty_allocated, qty_unsourced, qty_shipped, qty_cancelled, is_stocked, amount_minor, charges)
    VALUES ({uid(line_id)}, {uid(order_id)}, {uid(order_id + 1)}, {line_id % 10}, '{line_id}',
        {product}, 'SKU', 'x', {", ".join(map(str, counters))}, {str(product < 9).lower()}, 1,
        '{{}}');
    """


def fulfilment_rows(fulfilment_id: int, status: str, location: int, line_id: int, qty: int) -> str:
    root = uid(fulfilment_id // 100 * 100)
    columns = "id, root_id, demand_kind, ordinal, status, service, origin_id, capacity_day"
    return f"""
    INSERT INTO fulfilment ({columns}, cost_minor, distance_m, weight_g, created_at)
    VALUES ({uid(fulfilment_id)}, {root}, 'order', 1, '{status}', 'deliver', {location},
        '2026-03-02', 1, 1, 1, now());
    INSERT INTO fulfilment_line VALUES ({uid(fulfilment_id)}, {root}, {uid(line_id)}, 1, {qty}, 0);
    """


def reservation_row(reservation_id: int, position: int, qty: int, line_id: int) -> str:
    return f"""
    INSERT INTO reservation (id, position_id, qty, kind, root_id, demand_id)
    VALUES ({uid(reservation_id)}, {position}, {qty}, 2, {uid(line_id // 100 * 100)},
            {uid(line_id)});
    """


SEED = "".join(
    [
        f"""
        INSERT INTO pass (id, kind, journal_base, stamp, number, started_at) VALUES
            ({uid(1)}, 'count', 1000, 1, 1, now() - interval '1 hour'),
            ({uid(2)}, 'orders', 2000, 2, 2, now() - interval '1 hour'),
            ({uid(3)}, 'count', 3000, 3, 3, now() - interval '1 hour');
        SELECT setval('journal_id', 3000); SELECT setval('pass_stamp', 3);
        INSERT INTO product_catalogue (ref) VALUES ('main');
        INSERT INTO product (id, catalogue_id, ref) VALUES (1, 1, 'A'), (9, 1, 'WRAP');
        INSERT INTO location (id, ref, kind, latitude, longitude)
            SELECT n, 'L' || n, 'store', 0, 0 FROM generate_series(1, 3) AS n;
        INSERT INTO workflow (name, version, entity, entity_type, document)
            VALUES ('home', 1, 'order', 'home', '{DOCUMENT}');
        INSERT INTO position (id, product_id, location_id, pool_id, on_hand, reserved, version,
                              journal_id)
        VALUES (1, 1, 1, 1, 7, 1, 3, 2000), (2, 1, 2, 1, 6, 2, 2, 2000),
               (3, 1, 3, 1, 3, 5, 3, 3000);
        INSERT INTO capacity VALUES (1, 'deliver', '2026-03-02', 'orders', 2),
                                    (2, 'deliver', '2026-03-02', 'orders', 1);
        """,
        journal_row(
            1000,
            1,
            [(1, 1, 10, 0, 10, 0, 1, 0), (2, 1, 6, 0, 6, 0, 1, 0), (3, 1, 5, 0, 5, 0, 1, 0)],
        ),
        journal_row(
            2000,
            2,
            [
                (1, 3, 0, 4, 10, 4, 2, 1000),
                (1, 6, -3, -3, 7, 1, 3, 2000),
                (2, 3, 0, 2, 6, 2, 2, 1000),
                (3, 3, 0, 5, 5, 5, 2, 1000),
            ],
        ),
        journal_row(3000, 3, [(3, 1, -2, 0, 3, 5, 3, 2000)]),
        order_rows(100, "allocated", 3),
        line_row(102, 1, 8, 8, 0, 0, 0),
        line_row(103, 9, 1, 1, 0, 0, 0),
        fulfilment_rows(110, "created", 1, 102, 1),
        fulfilment_rows(111, "created", 2, 102, 2),
        fulfilment_rows(112, "rejected", 2, 102, 5),
        fulfilment_rows(113, "created", 3, 102, 5),
        f"UPDATE fulfilment SET capacity_day = NULL WHERE id = {uid(113)};",
        reservation_row(120, 1, 1, 102),
        reservation_row(121, 2, 2, 102),
        reservation_row(122, 3, 5, 102),
        order_rows(200, "unsourced", 2),
        line_row(202, 1, 4, 0, 4, 0, 0),
        order_rows(300, "cancelled", 2),
        line_row(302, 1, 4, 0, 0, 0, 4),
        order_rows(400, "shipped", 4),
        line_row(402, 1, 3, 0, 0, 3, 0),
        fulfilment_rows(410, "shipped", 1, 402, 3),
    ]
)
