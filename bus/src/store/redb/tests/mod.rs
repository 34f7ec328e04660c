//! Tests of the redb store.
