"""One verdict for many events, of which the disk takes only some."""

from __future__ import annotations

import requests
import sqlalchemy

from tests.unit.server.scenes import event
from vision_event_block.server.http_server import serving
from vision_event_block.server.storage import Store


def test_what_was_saved_before_the_disk_was_full_is_told_and_can_be_undone(tmp_path, caplog):
    ids = [f"e{number}" for number in range(500)]
    is_disk_small = True

    def bound(connection):
        """Once there are verdicts, SQLite's file grows no more, as on a disk without room."""
        judged = connection.exec_driver_sql("SELECT count(*) FROM events WHERE verdict IS NOT NULL")
        at_most = 1 if is_disk_small and judged.scalar() else 1_000_000
        connection.exec_driver_sql(f"PRAGMA max_page_count = {at_most}")

    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put([event(event_id) for event_id in ids])
        sqlalchemy.event.listen(store._database._engine, "begin", bound)
        with serving(store) as address:
            path = f"{address}/use-cases/dock/feedback"
            form = {"event": ids, "feedback": "correct"}
            answer = requests.post(path, data=form, timeout=60)
            judged = [event_id for event_id in ids if store.get(event_id).feedback]
            is_disk_small = False
            told = dict(pair.split("=") for pair in answer.url.partition("?")[2].split("&"))
            undone = requests.post(f"{path}/undo", data=told, timeout=60)

    assert judged == ids[:200]
    assert answer.status_code == 200
    assert "200 events judged correct. 300 could not be saved: judge those again." in answer.text
    assert 'action="/use-cases/dock/feedback/undo' in answer.text
    assert "200 verdicts undone." in undone.text
    [logged] = [line for line in caplog.messages if "verdicts were saved" in line]
    assert logged == "200 of 500 verdicts were saved: database or disk is full"
