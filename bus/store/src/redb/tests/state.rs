//! A listing is checked in the transaction: proof that the test of it sees an injected bug.

use super::*;
use crate::conformance::two_leaders;

#[test]
fn it_is_seen_if_listings_are_not_checked() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(folder.path(), small()).unwrap();
    store.commit(&[rules(1_000)]).unwrap();
    injected::NO_LISTING.set(true);
    let leaders = two_leaders(&store);
    injected::NO_LISTING.set(false);
    assert_eq!(leaders, 2);
}
