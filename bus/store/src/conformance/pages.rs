//! Pages: rows and bytes, forwards and backwards, whatever ends them.

use super::*;

/// Everything of a listing, page by page, and the most that one page weighed.
fn walk<T, K: Copy>(
    first: Option<K>,
    mut read: impl FnMut(Option<K>) -> Rows<T, K>,
) -> (Vec<T>, usize) {
    let (mut all, mut from, mut most) = (Vec::new(), first, 0);
    for _ in 0..10_000 {
        let page = read(from);
        most = most.max(page.bytes);
        all.extend(page.rows);
        match page.next {
            Some(next) => from = Some(next),
            None => return (all, most),
        }
    }
    panic!("the listing never ends");
}

/// Deliveries of S1 in every stage: 40 events of some 2 KiB, to S1 and S2 alike.
fn filled(subject: &Subject) {
    for id in 0..40 {
        let mut new = new_event(&format!("e{id}"), &[S1, S2]);
        let mut event = (*new.event).clone();
        event.data = Data::Opaque(vec![7; 2_000].into());
        new.event = event.into();
        subject.one(Step::Append(Append {
            bus: BUS,
            events: vec![new],
            now: NOW,
        }));
    }
    let retry = |number: u32| SettleEnd::Retry {
        due_at: NOW.plus_ms(u64::from(number)),
    };
    let dead = || SettleEnd::Dead {
        reason: DeadReason::Rejected,
        published: None,
    };
    for position in 1..=30 {
        let end = match position % 3 {
            0 => SettleEnd::Done(Effects::default()),
            1 => dead(),
            _ => retry(1),
        };
        subject.one(settle(key(S1, position), 0, 1, end));
        subject.one(done(key(S2, position), 0));
    }
}

fn reversed<T>(mut rows: Vec<T>) -> Vec<T> {
    rows.reverse();
    rows
}

#[test]
fn pages_join_to_the_whole_listing_both_ways() {
    for subject in Subject::all().map(Subject::with_rules) {
        filled(&subject);
        let store = &subject.store;
        let whole = Page::forward(usize::MAX, usize::MAX);
        for (rows, bytes) in [(1, usize::MAX), (7, usize::MAX), (100, 1), (100, 3_000)] {
            let ways = [Page::forward(rows, bytes), Page::backward(rows, bytes)];
            for page in ways {
                let ordered = |text: Vec<String>| match page.direction {
                    Direction::Forward => text,
                    Direction::Backward => reversed(text),
                };
                let start = match page.direction {
                    Direction::Forward => Position(0),
                    Direction::Backward => Position(u64::MAX),
                };
                let show = |row: &StoredEvent| format!("{row:?}");
                let all = store.events_page(BUS, Position(0), whole).unwrap().rows;
                let all: Vec<_> = all.iter().map(show).collect();
                let (read, most) = walk(Some(start), |from| {
                    store.events_page(BUS, from.unwrap(), page).unwrap()
                });
                let read: Vec<_> = read.iter().map(show).collect();
                assert_eq!(ordered(read), all, "{page:?}");
                // A page holds its bytes and one row.
                assert!(
                    bytes == usize::MAX || most <= bytes + 3_000,
                    "{page:?} {most}"
                );
                macro_rules! same {
                    ($listing:ident) => {
                        let all = store.$listing(S1, None, whole).unwrap().rows;
                        assert!(!all.is_empty());
                        let all: Vec<_> = all.iter().map(|row| format!("{row:?}")).collect();
                        let (read, _) = walk(None, |from| store.$listing(S1, from, page).unwrap());
                        let read: Vec<_> = read.iter().map(|row| format!("{row:?}")).collect();
                        assert_eq!(ordered(read), all, "{} {page:?}", stringify!($listing));
                    };
                }
                same!(pending_page);
                same!(deliveries_page);
                same!(settled_page);
                same!(dead_letters_page);
            }
        }
    }
}

#[test]
fn pages_begin_at_any_place_and_end_within_their_listing() {
    for subject in Subject::all().map(Subject::with_rules) {
        filled(&subject);
        let store = &subject.store;
        let none = Page::forward(0, usize::MAX);
        assert_eq!(
            store.events_page(BUS, Position(0), none).unwrap(),
            Rows::none()
        );
        assert_eq!(store.settled_page(S1, None, none).unwrap(), Rows::none());
        let (first, last) = (Position(0), Position(u64::MAX));
        let (on, back) = (
            Page::forward(99, usize::MAX),
            Page::backward(99, usize::MAX),
        );
        assert!(store.events_page(BUS, last, on).unwrap().rows.is_empty());
        assert!(store.events_page(BUS, first, back).unwrap().rows.is_empty());
        assert!(store.events_page(SIDE, last, back).unwrap().rows.is_empty());
        // Of another subscription: the listing is before or behind it as a whole.
        let others = [key(SubscriptionId(0), 5), key(S3, 5)];
        let count = |from, page| store.dead_letters_page(S1, from, page).unwrap().rows.len();
        assert_eq!(count(Some(others[0]), on), 10);
        assert_eq!(count(Some(others[0]), back), 0);
        assert_eq!(count(Some(others[1]), on), 0);
        assert_eq!(count(Some(others[1]), back), 10);
        // Strictly behind and strictly before.
        let positions = |from, page| -> Vec<u64> {
            let rows = store.settled_page(S1, Some(key(S1, from)), page).unwrap();
            let rows = rows.rows.iter();
            rows.map(|row| row.delivery.key.position.0).collect()
        };
        assert_eq!(positions(24, on), [27, 30]);
        assert_eq!(positions(9, back), [6, 3]);
        assert_eq!(positions(10, back), [9, 6, 3]);
    }
}

/// What was claimed and has not ended is listed for itself, and a settlement ends it.
#[test]
fn what_is_claimed_runs_until_it_ends() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        filled(&subject);
        let claim = |key, fence| Step::Claim {
            key,
            fence,
            now: NOW.plus_ms(9),
        };
        let claimed = [
            (S1, 31, 0),
            (S2, 31, 0),
            (S1, 2, 1),
            (S1, 32, 0),
            (S1, 32, 1),
        ];
        for (subscription, position, fence) in claimed {
            subject.one(claim(key(subscription, position), fence));
        }
        subject.reopen();
        let running = |subject: &Subject| -> Vec<_> {
            let page = Page::forward(2, usize::MAX);
            let (rows, _) = walk(None, |from| subject.store.running_page(from, page).unwrap());
            rows.iter().map(|row| (row.key, row.fence)).collect()
        };
        let expected = [
            (key(S1, 2), 2),
            (key(S1, 31), 1),
            (key(S1, 32), 2),
            (key(S2, 31), 1),
        ];
        assert_eq!(running(&subject), expected);
        let row = subject.store.pending(key(S1, 32)).unwrap().unwrap();
        assert_eq!((row.claims, row.attempts_made), (2, 0));
        subject.one(done(key(S1, 31), 1));
        subject.one(settle(key(S1, 32), 2, 1, SettleEnd::Retry { due_at: NOW }));
        let dead = SettleEnd::Dead {
            reason: DeadReason::Rejected,
            published: None,
        };
        subject.one(settle(key(S2, 31), 1, 1, dead));
        assert_eq!(running(&subject), [(key(S1, 2), 2)]);
        let mut corruption = Vec::new();
        subject
            .store
            .verify(&mut |line| corruption.push(line))
            .unwrap();
        assert_eq!(corruption, Vec::<String>::new());
    }
}
