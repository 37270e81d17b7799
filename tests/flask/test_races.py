"""Two requests at once: nobody's write is lost, and nothing that was ended comes back."""

import threading

import pytest
from flask import session


@pytest.fixture
def slow(app):
    """A view that reads the session, waits for the test, and then does what the test says."""
    entered, go_on = threading.Event(), threading.Event()

    @app.get("/slow/<key>/<value>")
    def view(key, value):
        _ = dict(session)
        entered.set()
        assert go_on.wait(20)
        session[key] = value
        return "done"

    @app.get("/slow-read")
    def slow_read():
        _ = dict(session)
        entered.set()
        assert go_on.wait(20)
        return dict(session)

    return entered, go_on


def beside(app, client, path, slow, meanwhile):
    """Answer ``path`` with the client's cookie; while the view waits, do ``meanwhile``."""
    entered, go_on = slow
    late = app.test_client()
    late.set_cookie("session", client.get_cookie("session").value)
    responses = []
    thread = threading.Thread(target=lambda: responses.append(late.get(path)))
    thread.start()
    assert entered.wait(20)
    meanwhile()
    go_on.set()
    thread.join(20)
    return responses[0]


def test_parallel_writers_of_different_keys_both_survive(app, client, slow):
    client.get("/put/a/1")
    beside(app, client, "/slow/b/2", slow, lambda: client.get("/put/c/3"))
    assert client.get("/read").json == {"a": "1", "b": "2", "c": "3"}


def test_a_late_save_does_not_undo_a_logout(app, client, slow, keys):
    client.get("/put/a/1")
    response = beside(app, client, "/slow/b/2", slow, lambda: client.get("/logout"))
    assert response.status_code == 200 and "Set-Cookie" not in response.headers
    assert client.get("/read").json == {} and keys() == []


def test_a_late_read_does_not_undo_a_logout_or_a_deletion(app, client, slow, keys):
    client.get("/put/a/1")
    client.get("/put/b/1")
    response = beside(app, client, "/slow-read", slow, lambda: client.get("/drop/b"))
    assert response.json == {"a": "1", "b": "1"}
    assert client.get("/read").json == {"a": "1"}
    slow[0].clear()
    slow[1].clear()
    beside(app, client, "/slow-read", slow, lambda: client.get("/logout"))
    assert keys() == []


def test_a_late_save_does_not_bring_back_a_revoked_session(app, client, slow):
    client.get("/login/7")
    mw = app.extensions["redis_mw"].mw
    beside(app, client, "/slow/b/2", slow, lambda: mw.sessions.revoke_user(7))
    assert client.get("/who").json["user"] is None and mw.sessions.of_user(7) == []


def test_many_threads_write_keys_of_their_own_and_all_are_there(app, client):
    client.get("/put/first/1")
    cookie = client.get_cookie("session").value
    answers = []

    def write(number):
        late = app.test_client()
        late.set_cookie("session", cookie)
        answers.extend(late.get(f"/put/k{number}-{turn}/x").status_code for turn in range(10))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40 and len(client.get("/read").json) == 41
