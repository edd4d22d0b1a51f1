//! Owns the tests of the store: revisions, reads in the past, transactions, compaction.
