"""The state of a phone call: a proof holds for its contact and its time only."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from contact.v1 import contact_pb2, phone_pb2
from phone_call import PhoneCall, Proof

ANNA, CARLA = (contact_pb2.Contact(contact_id=name) for name in ("anna", "carla"))


def call_of(contact: contact_pb2.Contact, minutes: float) -> PhoneCall:
    expire_time = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    caller = phone_pb2.Caller(contact_id=contact.contact_id)
    return PhoneCall(contact=contact, proof=Proof("password", "the grant", expire_time, caller, []))


def test_expired_proof_is_dropped() -> None:
    call = call_of(ANNA, minutes=-1)
    assert call.valid_proof() is None
    assert call.proof is None


def test_proof_counts_for_its_contact_only() -> None:
    call = call_of(ANNA, minutes=1)
    call.contact = CARLA
    assert call.valid_proof() is None
    call.contact = ANNA
    assert call.valid_proof()


def test_another_customer_ends_the_proof() -> None:
    call = call_of(ANNA, minutes=1)
    call.select_customer("K-2", {})
    call.contact = ANNA
    assert call.valid_proof() is None


def test_representation_has_neither_grant_nor_call_id() -> None:
    call = call_of(ANNA, minutes=1)
    assert "the grant" not in repr(call)
    assert call.call_id not in repr(call)


def test_call_ids_differ() -> None:
    assert len({PhoneCall().call_id for _ in range(100)}) == 100
