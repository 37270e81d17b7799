from redis_mw.http.request import Fields, Request


def test_fields_compare_without_case_and_keep_their_order():
    fields = Fields((("Accept", "a"), ("cookie", "x=1"), ("ACCEPT", "b")))
    assert fields.get("accept") == "a" and fields.get_all("aCCEPT") == ("a", "b")
    assert fields.get("host") is None and fields.get_all("host") == ()


def test_a_request_finds_its_cookie_in_any_of_its_fields():
    request = Request("GET", "/", headers=Fields((("cookie", "a=1"), ("Cookie", "session=2; b=3"))))
    assert request.cookie("session") == "2" and request.cookie("c") is None
