import unittest

from app import Added, Document, Opened, totals
from quipu_guest.testing import projected


class Documents(unittest.TestCase):
    def test_a_document_has_the_total(self) -> None:
        documents = projected(totals)
        documents = documents.event("{{category}}-1", Opened("first"))
        documents = documents.event("{{category}}-1", Added(5)).event("{{category}}-1", Added(7))
        self.assertEqual(documents.document("1"), Document("first", 12))
