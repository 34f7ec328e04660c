//! The log: positions, duplicates, and deliveries beside the event.

use super::*;
use edgebus_model::{JobControl, JobId, JobSpec, LetterSelection};

#[test]
fn positions_count_from_one_without_gaps_per_bus() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        assert_eq!(
            subject.one(append(&["a", "b"], &[], NOW)),
            appended(&[(1, false), (2, false)])
        );
        let side = Step::Append(Append {
            bus: SIDE,
            events: vec![new_event("a", &[S3])],
            now: NOW,
        });
        assert_eq!(subject.one(side), appended(&[(1, false)]));
        subject.reopen();
        assert_eq!(
            subject.one(append(&["b", "c"], &[], NOW)),
            appended(&[(2, true), (3, false)])
        );
        let catalog = subject.store.catalog().unwrap();
        let heads: Vec<u64> = catalog.buses.iter().map(|bus| bus.2.0).collect();
        assert_eq!(heads, [3, 1]);
        let read = |after, limit| -> Vec<u64> {
            let page = subject.store.events(BUS, Position(after), limit).unwrap();
            page.iter().map(|row| row.position.0).collect()
        };
        assert_eq!(read(0, 10), [1, 2, 3]);
        assert_eq!(read(1, 1), [2]);
        assert_eq!(read(0, 0), [0; 0]);
        assert_eq!(read(3, 10), [0; 0]);
        assert_eq!(read(u64::MAX, 10), [0; 0]);
        assert!(subject.store.event(BUS, Position(4)).unwrap().is_none());
        assert!(subject.store.event(BUS, Position(0)).unwrap().is_none());
        assert!(
            subject
                .store
                .event(BusId(9), Position(1))
                .unwrap()
                .is_none()
        );
    }
}

#[test]
fn an_event_comes_back_as_it_went_in() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        let full = Event {
            subject: Some("sub".into()),
            time: Some("2026-11-21T06:30:16.5+01:00".into()),
            data_content_type: Some("text/plain".into()),
            data_schema: Some("https://example.com/s".into()),
            extensions: vec![
                ("traceparent".into(), Attribute::Text("00-ä".into())),
                ("count".into(), Attribute::Integer(-7)),
                ("flag".into(), Attribute::Boolean(true)),
            ],
            data: Data::Opaque(Bytes::from_static(b"\x00\xff {\"a\":1,\"a\":2}")),
            ..event("full")
        };
        let empty = Event {
            data_content_type: None,
            data: Data::Absent,
            ..event("empty")
        };
        let large = Event {
            data: Data::Opaque(Bytes::from(vec![0xA5; 1 << 20])),
            ..event("large")
        };
        let parent = DeliveryKey {
            replay: 3,
            ..key(S1, 1)
        };
        let lineage = Lineage {
            root: Some(EventRef {
                bus: BUS,
                position: Position(1),
            }),
            parent: Some(parent),
            hops: 2,
        };
        let events: Vec<NewEvent> = [full, empty, large]
            .into_iter()
            .map(|event| NewEvent {
                event: Arc::new(event),
                lineage,
                subscriptions: vec![S1, S2],
                rules_version: 42,
            })
            .collect();
        let now = NOW;
        subject.one(Step::Append(Append {
            bus: BUS,
            events: events.clone(),
            now,
        }));
        subject.reopen();
        let page = subject.store.events(BUS, Position(0), 10).unwrap();
        for (index, (row, sent)) in page.iter().zip(&events).enumerate() {
            let expected = StoredEvent {
                position: Position(index as u64 + 1),
                accepted_at: NOW,
                rules_version: 42,
                subscriptions: vec![S1, S2],
                lineage,
                event: sent.event.clone(),
            };
            assert_eq!(*row, expected);
            let single = subject.store.event(BUS, row.position).unwrap();
            assert_eq!(single, Some(expected));
        }
        assert_eq!(page.len(), 3);
    }
}

#[test]
fn a_repeated_id_is_answered_with_the_first_place() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        // Within an append, within a batch, across batches, across a restart.
        let steps = [
            append(&["a", "b", "a"], &[S1], NOW),
            append(&["b", "c"], &[S1], NOW),
        ];
        let outcomes = subject.store.commit(&steps).unwrap();
        assert_eq!(outcomes[0], appended(&[(1, false), (2, false), (1, true)]));
        assert_eq!(outcomes[1], appended(&[(2, true), (3, false)]));
        assert_eq!(
            subject.one(append(&["c"], &[S1, S2], NOW)),
            appended(&[(3, true)])
        );
        subject.reopen();
        assert_eq!(
            subject.one(append(&["a"], &[S1], NOW)),
            appended(&[(1, true)])
        );
        let other = Event {
            source: "/other".into(),
            ..event("a")
        };
        let other = NewEvent {
            event: Arc::new(other),
            ..new_event("a", &[])
        };
        let side = Step::Append(Append {
            bus: BUS,
            events: vec![other],
            now: NOW,
        });
        assert_eq!(subject.one(side), appended(&[(4, false)]));
        assert_eq!(subject.store.deliveries(S1, None, 10).unwrap().len(), 3);
        assert_eq!(subject.store.deliveries(S2, None, 10).unwrap().len(), 0);
    }
}

/// An append of one event, changed in some way.
fn changed(id: &str, now: Timestamp, change: impl FnOnce(&mut Event)) -> Step {
    let mut event = event(id);
    change(&mut event);
    Step::Append(Append {
        bus: BUS,
        events: vec![NewEvent {
            event: Arc::new(event),
            ..new_event(id, &[S1])
        }],
        now,
    })
}

fn reused(list: &[(usize, Option<u64>)]) -> StepOutcome {
    let all = list.iter().map(|(index, first)| Reused {
        index: *index,
        first: first.map(Position),
    });
    StepOutcome::IdReused(all.collect())
}

#[test]
fn an_id_with_other_content_is_refused() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["x", "a"], &[S1], NOW));
        for restart in [false, true] {
            if restart {
                subject.reopen();
            }
            // Time and extensions are set anew by clients that repeat an event.
            let again = changed("a", NOW, |event| {
                event.time = Some("2026-11-21T06:30:16Z".into());
                event.data_content_type = None;
                event.extensions = vec![("count".into(), Attribute::Integer(1))];
            });
            assert_eq!(subject.one(again), appended(&[(2, true)]));
            let changes: [fn(&mut Event); 4] = [
                |event| event.kind = "other".into(),
                |event| event.subject = Some(String::new()),
                |event| event.data = Data::Json(Bytes::from_static(b"{\"id\":\"a\"}")),
                |event| event.data = Data::Absent,
            ];
            for change in changes {
                let step = changed("a", NOW, change);
                assert_eq!(subject.one(step), reused(&[(0, Some(2))]));
            }
        }
        // A batch is refused as a whole, and every such event is told; an earlier one of the batch is no place.
        let mut events = vec![
            new_event("n", &[]),
            new_event("a", &[]),
            new_event("n", &[]),
        ];
        for new in &mut events[1..] {
            let mut event = (*new.event).clone();
            event.kind = "other".into();
            new.event = Arc::new(event);
        }
        let batch = Step::Append(Append {
            bus: BUS,
            events,
            now: NOW,
        });
        assert_eq!(subject.one(batch), reused(&[(1, Some(2)), (2, None)]));
        assert_eq!(
            subject.one(append(&["n"], &[], NOW)),
            appended(&[(3, false)])
        );

        // So is a settlement with such an emitted event.
        let emits = |kind: &str| {
            let mut new = emitted("a", key(S1, 1), 1, &[]);
            let mut event = (*new.event).clone();
            event.kind = kind.into();
            new.event = Arc::new(event);
            let effects = Effects {
                emits: vec![(BUS, new)],
                ..Effects::default()
            };
            settle(key(S1, 1), 0, 1, SettleEnd::Done(effects))
        };
        assert_eq!(subject.one(emits("other")), reused(&[(0, Some(2))]));
        assert!(matches!(subject.one(emits("t")), StepOutcome::Settled(_)));

        // Behind the window it is another event.
        let later = NOW.plus_ms(WINDOW_MS);
        let other = changed("a", later, |event| event.kind = "other".into());
        assert_eq!(subject.one(other), appended(&[(4, false)]));

        // A bus may take them as duplicates.
        let mut step = manifest(&["side"], &["f", "g"], Vec::new());
        step.buses = vec![BusConfig {
            differing: Differing::Duplicate,
            ..BusConfig::with_defaults(name("default"))
        }];
        subject.one(Step::ApplyManifest(Box::new(step)));
        subject.reopen();
        assert_eq!(
            subject.one(append(&["a"], &[], later)),
            appended(&[(4, true)])
        );
    }
}

#[test]
fn a_key_expires_after_the_window_and_never_early() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[], NOW));
        for restart in [false, true] {
            if restart {
                subject.reopen();
            }
            let last = NOW.plus_ms(WINDOW_MS - 1);
            assert_eq!(
                subject.one(append(&["a"], &[], last)),
                appended(&[(1, true)])
            );
            let back = Timestamp(5);
            assert_eq!(
                subject.one(append(&["a"], &[], back)),
                appended(&[(1, true)])
            );
        }
        let later = NOW.plus_ms(WINDOW_MS);
        assert_eq!(
            subject.one(append(&["a"], &[], later)),
            appended(&[(2, false)])
        );
        // From now on the second one counts, before and after a restart.
        assert_eq!(
            subject.one(append(&["a"], &[], later)),
            appended(&[(2, true)])
        );
        subject.reopen();
        assert_eq!(
            subject.one(append(&["a"], &[], later)),
            appended(&[(2, true)])
        );
    }
}

#[test]
fn a_buss_times_never_go_back() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[S1], NOW));
        subject.one(append(&["b"], &[S1], Timestamp(NOW.0 - 50)));
        subject.reopen();
        subject.one(append(&["c"], &[S1], Timestamp(NOW.0 - 50)));
        let page = subject.store.events(BUS, Position(0), 9).unwrap();
        let times: Vec<_> = page.iter().map(|stored| stored.accepted_at).collect();
        assert_eq!(times, [NOW; 3]);
        let pending = subject.store.deliveries(S1, None, 9).unwrap();
        assert!(pending.iter().all(|row| row.accepted_at == NOW));
        assert_eq!(subject.store.catalog().unwrap().newest, NOW);
    }
}

/// The clock of the next start begins with the newest time, so nothing in the store is later than that.
#[test]
fn the_newest_time_is_that_of_the_last_step_of_any_kind() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        let newest = |subject: &Subject| subject.store.catalog().unwrap().newest;
        subject.one(append(&["a"], &[S1], NOW));
        assert_eq!(newest(&subject), NOW);
        let dead = SettleEnd::Dead {
            reason: DeadReason::Rejected,
            published: None,
        };
        // As `settle` has it.
        subject.one(settle(key(S1, 1), 0, 1, dead));
        assert_eq!(newest(&subject), NOW.plus_ms(5));
        subject.reopen();
        assert_eq!(newest(&subject), NOW.plus_ms(5));
        subject.one(append(&["b"], &[S1], NOW));
        let stored = subject.store.event(BUS, Position(2)).unwrap().unwrap();
        assert_eq!(stored.accepted_at, NOW.plus_ms(5));
        subject.one(Step::StartJob(Box::new(StartJob {
            spec: JobSpec::Redrive(LetterSelection::default()),
            rate: None,
            of: 1,
            component: None,
            now: NOW.plus_ms(8),
        })));
        assert_eq!(newest(&subject), NOW.plus_ms(8));
        subject.reopen();
        assert_eq!(newest(&subject), NOW.plus_ms(8));
        subject.one(Step::ControlJob {
            job: JobId(1),
            control: JobControl::Pause,
            now: NOW.plus_ms(9),
        });
        subject.reopen();
        assert_eq!(newest(&subject), NOW.plus_ms(9));
    }
}

#[test]
fn a_gap_of_the_clock_lengthens_the_window() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a"], &[], NOW));
        let end = NOW.plus_ms(3 * WINDOW_MS);
        let reading = ClockReading {
            log: end,
            wall: Timestamp(7),
            boot: [5; 16],
            boot_ms: 9,
            gaps: vec![Gap {
                end,
                ms: 3 * WINDOW_MS - 10,
            }],
        };
        assert_eq!(subject.store.catalog().unwrap().clock, None);
        // Within one batch already.
        let steps = [Step::Clock(reading.clone()), append(&["a"], &[], end)];
        let outcomes = subject.store.commit(&steps).unwrap();
        assert_eq!(outcomes, [StepOutcome::Marked, appended(&[(1, true)])]);
        subject.reopen();
        assert_eq!(subject.store.catalog().unwrap().clock, Some(reading));
        let last = end.plus_ms(WINDOW_MS - 11);
        assert_eq!(
            subject.one(append(&["a"], &[], last)),
            appended(&[(1, true)])
        );
        let later = last.plus_ms(1);
        assert_eq!(
            subject.one(append(&["a"], &[], later)),
            appended(&[(2, false)])
        );
    }
}

#[test]
fn a_bus_without_a_window_takes_everything() {
    for subject in Subject::all() {
        let mut step = manifest(&[], &[], Vec::new());
        step.buses = vec![BusConfig {
            dedupe_ms: 0,
            ..BusConfig::with_defaults(name("default"))
        }];
        subject.one(Step::ApplyManifest(Box::new(step)));
        assert_eq!(
            subject.one(append(&["a", "a"], &[], NOW)),
            appended(&[(1, false), (2, false)])
        );
        assert_eq!(
            subject.one(append(&["a"], &[], NOW)),
            appended(&[(3, false)])
        );
    }
}

#[test]
fn deliveries_are_written_beside_the_event() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1, S2], NOW));
        subject.reopen();
        let rows = subject.store.deliveries(S1, None, 10).unwrap();
        let expected = |position| Delivery::new(Pending::new(key(S1, position), NOW), Vec::new());
        assert_eq!(rows, [expected(1), expected(2)]);
        let page = |after, limit| subject.store.deliveries(S1, after, limit).unwrap();
        assert_eq!(page(Some(key(S1, 1)), 10), [expected(2)]);
        assert_eq!(page(None, 1), [expected(1)]);
        assert_eq!(page(Some(key(S1, 2)), 10), []);
        // A place in another subscription's keys is before or behind all of these.
        assert_eq!(page(Some(key(S2, 1)), 10), []);
        assert_eq!(
            subject
                .store
                .deliveries(S2, Some(key(S1, 9)), 9)
                .unwrap()
                .len(),
            2
        );
        let one = subject.store.delivery(key(S2, 2)).unwrap();
        assert!(matches!(one, Some(DeliveryState::Pending(row)) if row.key == key(S2, 2)));
        assert_eq!(subject.store.delivery(key(S2, 3)).unwrap(), None);
    }
}

#[test]
fn strangers_are_denied_and_hinder_nobody() {
    for subject in Subject::all().map(Subject::with_rules) {
        let nowhere = Step::Append(Append {
            bus: BusId(7),
            events: vec![new_event("x", &[])],
            now: NOW,
        });
        let steps = [
            nowhere,
            append(&["y"], &[SubscriptionId(9)], NOW),
            append(&["z"], &[S3], NOW), // of the other bus
            append(&["a"], &[S1], NOW),
        ];
        let outcomes = subject.store.commit(&steps).unwrap();
        for outcome in &outcomes[..3] {
            assert!(matches!(outcome, StepOutcome::Denied(_)), "{outcome:?}");
        }
        assert_eq!(outcomes[3], appended(&[(1, false)]));
    }
}

#[test]
fn an_empty_batch_and_an_empty_append_are_nothing() {
    for subject in Subject::all() {
        assert_eq!(subject.store.commit(&[]).unwrap(), []);
        assert_eq!(subject.one(append(&[], &[], NOW)), appended(&[]));
    }
}
