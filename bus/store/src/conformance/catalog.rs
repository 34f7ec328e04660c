//! Manifests, deployments and removals.

use super::*;

fn apply(subject: &Subject, step: ApplyManifest) -> StepOutcome {
    subject.one(Step::ApplyManifest(Box::new(step)))
}

fn names(subject: &Subject) -> Vec<(u32, String, bool)> {
    let catalog = subject.store.catalog().unwrap();
    let known = catalog.subscriptions.iter();
    known
        .map(|known| (known.id.0, known.name().to_string(), known.active))
        .collect()
}

#[test]
fn a_manifest_comes_back_from_the_catalog() {
    for mut subject in Subject::all() {
        let step = manifest(&["side"], &["f"], vec![rule("r", "side", &["f"])]);
        assert_eq!(
            apply(&subject, step.clone()),
            StepOutcome::Applied { version: 1 }
        );
        let before = subject.store.catalog().unwrap();
        subject.reopen();
        let catalog = subject.store.catalog().unwrap();
        let same = Catalog {
            epoch: before.epoch,
            clean: before.clean,
            ..catalog.clone()
        };
        assert_eq!(same, before);
        assert_eq!(catalog.version, 1);
        assert_eq!(catalog.manifest, step.source);
        assert_eq!(catalog.rules, step.rules);
        assert_eq!(catalog.functions.len(), 1);
        assert_eq!(catalog.functions[0].number, 1);
        assert_eq!(catalog.functions[0].config, step.functions[0].2);
        assert_eq!(catalog.buses[1].1, step.buses[0]);
        assert_eq!(catalog.subscriptions[0].target, step.rules[0].targets[0]);
        assert_eq!(catalog.subscriptions[0].bus, SIDE);
        // The same again is no change.
        assert_eq!(apply(&subject, step), StepOutcome::Applied { version: 1 });
    }
}

#[test]
fn numbers_stay_with_their_names() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        let active = |subject: &Subject| {
            let mut names = names(subject);
            names.retain(|(_, _, active)| *active);
            names
        };
        let f = "f";
        let two = vec![rule("r2", "default", &["g", f]), rule("r4", "side", &[f])];
        let outcome = apply(&subject, manifest(&["side"], &[f, "g"], two));
        assert_eq!(outcome, StepOutcome::Applied { version: 2 });
        let expected = [
            (2, "r2/g".to_owned(), true),
            (4, "r2/f".to_owned(), true),
            (5, "r4/f".to_owned(), true),
        ];
        assert_eq!(active(&subject), expected);
        subject.reopen();
        // A name that comes back finds its number; one on another bus is another subscription.
        let three = vec![rule("r1", "default", &[f]), rule("r4", "default", &[f])];
        apply(&subject, manifest(&[], &[f, "g"], three));
        let expected = [(1, "r1/f".to_owned(), true), (6, "r4/f".to_owned(), true)];
        assert_eq!(active(&subject), expected);
        // A bus that left the manifest keeps number and log.
        let catalog = subject.store.catalog().unwrap();
        assert_eq!(catalog.buses.len(), 2);
    }
}

/// Under its own name a subscription stays what it is, whatever becomes of its rule and its function.
#[test]
fn a_name_keeps_its_number_through_renamed_rules_and_functions() {
    for mut subject in Subject::all() {
        let named = |rule_name: &str, bus: &str, function: &str, name: &str| {
            let mut rule = rule(rule_name, bus, &[function]);
            rule.targets[0].name = SubscriptionName::new(name).unwrap();
            rule
        };
        let both = manifest(&["side"], &["f", "g"], vec![rule("r", "default", &["f"])]);
        apply(&subject, both.clone());
        subject.one(append(&["a", "b"], &[S1], NOW));
        let reason = DeadReason::Rejected;
        subject.one(settle(
            key(S1, 1),
            0,
            1,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
        // The rule has another name, then the function, then both go back under a name of one part.
        let table = [
            (named("s", "default", "f", "r/f"), 1),
            (named("s", "default", "g", "r/f"), 1),
            (named("r", "default", "f", "r/f"), 1),
            (named("r", "default", "f", "own"), 2),
            (rule("r", "default", &["f"]), 1),
            // A number's positions are those of one bus.
            (named("r", "side", "f", "r/f"), 3),
            (rule("r", "default", &["f"]), 1),
        ];
        for (rule, number) in table {
            let mut step = both.clone();
            step.rules = vec![rule.clone()];
            assert!(matches!(apply(&subject, step), StepOutcome::Applied { .. }));
            subject.reopen();
            let catalog = subject.store.catalog().unwrap();
            let mut active = catalog.subscriptions.iter().filter(|own| own.active);
            let own = active.next().unwrap();
            assert_eq!((own.id.0, &own.rule), (number, &rule.name));
            assert_eq!(own.target, rule.targets[0]);
            assert!(active.next().is_none());
            let pending = subject.store.deliveries(S1, None, 10).unwrap();
            assert_eq!(pending.len(), 1, "{rule:?}");
            assert_eq!(subject.store.dead_letters(S1, None, 10).unwrap().len(), 1);
        }
    }
}

/// Two targets of one rule may be one function under two names; one name is one subscription, and what is
/// not built is not taken.
#[test]
fn names_and_kinds_are_checked() {
    for subject in Subject::all() {
        let twice = |second: &str| {
            let mut rule = rule("r", "default", &["f", "f"]);
            rule.targets[1].name = SubscriptionName::new(second).unwrap();
            vec![rule]
        };
        let outcome = apply(&subject, manifest(&[], &["f"], twice("again")));
        assert_eq!(outcome, StepOutcome::Applied { version: 1 });
        assert_eq!(names(&subject).len(), 2);
        let denied = |rules: Vec<RuleConfig>| match apply(&subject, manifest(&[], &["f"], rules)) {
            StepOutcome::Denied(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(denied(twice("r/f")).contains("another of that name"));
        let mut over_rules = twice("again");
        over_rules.push(rule("again", "default", &["f"]));
        over_rules[1].targets[0].name = SubscriptionName::new("again").unwrap();
        assert!(denied(over_rules).contains("another of that name"));
        for kind in TargetKind::ALL.iter().filter(|kind| !kind.is_built()) {
            let mut other = rule("r", "default", &["f"]);
            other.targets[0].to = kind.named(name("x"));
            let reason = denied(vec![other]);
            assert!(reason.contains(kind.word()), "{reason}");
        }
    }
}

#[test]
fn a_removed_subscription_stays_listed() {
    for subject in Subject::all().map(Subject::with_rules) {
        subject.one(append(&["a", "b"], &[S1], NOW));
        let rest = vec![rule("r2", "default", &["g"]), rule("r3", "side", &["f"])];
        apply(&subject, manifest(&["side"], &["f", "g"], rest));
        assert_eq!(names(&subject)[0], (1, "r1/f".to_owned(), false));
        // An event that was matched before the change still gets its delivery.
        subject.one(append(&["late"], &[S1], NOW));
        subject.one(done(key(S1, 1), 0));
        subject.one(done(key(S1, 3), 0));
        let reason = DeadReason::Rejected;
        subject.one(settle(
            key(S1, 2),
            0,
            1,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
        assert_eq!(
            names(&subject)[0],
            (1, "r1/f".to_owned(), false),
            "its dead letter must stay in reach, and an event on its way must find it"
        );
    }
}

#[test]
fn what_cannot_be_is_denied_and_changes_nothing() {
    for subject in Subject::all().map(Subject::with_rules) {
        let before = subject.store.catalog().unwrap();
        let r = |functions: &[&str]| rule("r1", "default", functions);
        let mut unknown_component = manifest(&[], &["h"], vec![]);
        unknown_component.components.clear();
        let mut wrong_digest = manifest(&[], &["h"], vec![]);
        wrong_digest.components[0].1 = Bytes::from_static(b"other");
        let steps = [
            manifest(&["new"], &["f"], vec![r(&["nobody"])]),
            manifest(&["new"], &["f"], vec![rule("r1", "nowhere", &["f"])]),
            manifest(&["new"], &["f"], vec![r(&["f"]), r(&["g"])]),
            manifest(&["new"], &["f"], vec![r(&["f", "f"])]),
            manifest(&["new", "new"], &["f"], vec![]),
            manifest(&["new"], &["f", "f"], vec![]),
            unknown_component,
            wrong_digest,
        ];
        for step in steps {
            let outcome = apply(&subject, step);
            assert!(matches!(outcome, StepOutcome::Denied(_)), "{outcome:?}");
            assert_eq!(subject.store.catalog().unwrap(), before);
        }
        // A function that the store has may be named without being declared again.
        let outcome = apply(&subject, manifest(&[], &[], vec![r(&["g"])]));
        assert_eq!(outcome, StepOutcome::Applied { version: 2 });
    }
}

#[test]
fn a_deployment_makes_a_revision_only_if_something_differs() {
    for mut subject in Subject::all() {
        let deploy = |text: &'static str, config: Option<FunctionConfig>, at| {
            Step::Deploy(Box::new(Deploy {
                function: name("f"),
                component: Bytes::from_static(text.as_bytes()),
                config,
                expected: None,
                now: Timestamp(at),
            }))
        };
        let configured = FunctionConfig {
            secrets: vec!["S".into()],
            ..FunctionConfig::default()
        };
        let table = [
            (deploy("one", None, 1), 1, 1, 1),
            (deploy("one", None, 2), 1, 1, 1),
            (deploy("one", Some(configured.clone()), 3), 2, 2, 3),
            (deploy("two", None, 4), 3, 3, 4),
            (deploy("two", Some(configured.clone()), 5), 3, 3, 4),
        ];
        for (step, version, number, deployed_at) in table {
            assert_eq!(subject.one(step), StepOutcome::Applied { version });
            let revision = subject.store.catalog().unwrap().functions[0].clone();
            assert_eq!(
                (revision.number, revision.deployed_at.0),
                (number, deployed_at)
            );
        }
        subject.reopen();
        let revision = subject.store.catalog().unwrap().functions[0].clone();
        assert_eq!(revision.config, configured);
        let component = |text: &[u8]| subject.store.component(Digest::of(text)).unwrap();
        assert_eq!(component(b"two").as_deref(), Some(&b"two"[..]));
        assert_eq!(component(b"one"), None, "no active function needs it");
    }
}

#[test]
fn a_large_component_comes_back_whole() {
    let bytes: Vec<u8> = (0..3_000_001_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for mut subject in Subject::all() {
        subject.one(Step::Deploy(Box::new(Deploy {
            function: name("f"),
            component: bytes.clone().into(),
            config: None,
            expected: None,
            now: NOW,
        })));
        subject.reopen();
        let back = subject
            .store
            .component(Digest::of(&bytes))
            .unwrap()
            .unwrap();
        assert!(back == bytes);
    }
}

#[test]
fn a_function_in_use_is_not_removed() {
    for subject in Subject::all().map(Subject::with_rules) {
        let remove = |function| {
            subject.one(Step::Remove {
                function: name(function),
                expected: None,
            })
        };
        assert!(matches!(remove("f"), StepOutcome::Denied(reason) if reason.contains("r1")));
        assert!(matches!(remove("nobody"), StepOutcome::Denied(_)));
        apply(
            &subject,
            manifest(&["side"], &["f", "g"], vec![rule("r3", "side", &["f"])]),
        );
        assert_eq!(remove("g"), StepOutcome::Applied { version: 3 });
        let catalog = subject.store.catalog().unwrap();
        assert_eq!(catalog.functions.len(), 1);
        assert_eq!(subject.store.component(component("g").0).unwrap(), None);
    }
}

/// What a plan tells is what the commit makes, and a plan makes nothing.
#[test]
fn a_plan_is_what_a_commit_makes() {
    let deploy = |text: &'static str, expected| {
        Step::Deploy(Box::new(Deploy {
            function: name("f"),
            component: Bytes::from_static(text.as_bytes()),
            config: None,
            expected,
            now: NOW,
        }))
    };
    let remove = |function, expected| Step::Remove {
        function: name(function),
        expected,
    };
    let applied = |rules, expected| {
        let mut step = manifest(&["side"], &["f", "g"], rules);
        step.expected = expected;
        Step::ApplyManifest(Box::new(step))
    };
    let bare = |rules| {
        let mut step = manifest(&[], &["f"], rules);
        step.components.clear();
        Step::ApplyManifest(Box::new(step))
    };
    let of_f = || vec![rule("r3", "side", &["f"])];
    // What a plan gives is committed in place of the step, or the step itself is.
    let both = [true, false];
    let subjects = both
        .into_iter()
        .flat_map(|planned| Subject::all().map(move |own| (own, planned)));
    for (subject, planned) in subjects {
        let steps = [
            (bare(vec![]), "which the store does not have"),
            (applied(of_f(), Some(7)), "version 7, and 0 is active"),
            (applied(of_f(), Some(0)), ""),
            (remove("g", Some(0)), "version 0, and 1 is active"),
            (remove("g", Some(1)), ""),
            (deploy("another", Some(1)), "version 1, and 2 is active"),
            (deploy("another", Some(2)), ""),
            (deploy("a third", None), ""),
            (remove("f", None), "is a target of rule"),
        ];
        for (step, denied) in steps {
            let before = subject.store.catalog().unwrap();
            let plan = subject.store.plan(&step).unwrap();
            assert_eq!(subject.store.catalog().unwrap(), before);
            let outcome = match &plan {
                Ok((_, change)) if planned => subject.one(change.clone()),
                _ => subject.one(step),
            };
            match (plan, outcome) {
                (Ok((plan, _)), StepOutcome::Applied { version }) => {
                    assert_eq!(plan, subject.store.catalog().unwrap());
                    assert_eq!((plan.version, denied), (version, ""));
                }
                (Err(reason), StepOutcome::Denied(same)) => {
                    assert_eq!(reason, same);
                    assert!(reason.contains(denied), "{reason}");
                    assert!(!denied.is_empty(), "{reason}");
                    assert_eq!(subject.store.catalog().unwrap(), before);
                }
                (plan, outcome) => panic!("{plan:?} and then {outcome:?}"),
            }
        }
    }
}

/// A planned change counts only if nothing came between, and one that was committed is no plan any more.
#[test]
fn a_plan_is_denied_after_another_change() {
    for subject in Subject::all().map(Subject::with_rules) {
        let rules = |function: &str| vec![rule("r9", "default", &[function])];
        let step = |function: &str| {
            Step::ApplyManifest(Box::new(manifest(&["side"], &["f", "g"], rules(function))))
        };
        let plan = |step: &Step| subject.store.plan(step).unwrap().unwrap().1;
        let (first, second) = (plan(&step("f")), plan(&step("g")));
        // In one transaction, and in another.
        let outcomes = subject
            .store
            .commit(&[first.clone(), second.clone()])
            .unwrap();
        assert_eq!(outcomes[0], StepOutcome::Applied { version: 2 });
        let after = subject.store.catalog().unwrap();
        for outcome in [outcomes[1].clone(), subject.one(second), subject.one(first)] {
            assert!(matches!(outcome, StepOutcome::Denied(_)), "{outcome:?}");
        }
        assert_eq!(subject.store.catalog().unwrap(), after);
        assert_eq!(after.rules, rules("f"));
    }
}

/// Only what left, has nothing pending and has no dead letter is retired, and no number is given twice.
#[test]
fn subscriptions_are_retired_at_their_end_and_numbers_never_return() {
    for mut subject in Subject::all().map(Subject::with_rules) {
        let retire = |subject: &Subject, ids: &[SubscriptionId]| {
            matches!(
                subject.one(Step::Retire(ids.to_vec())),
                StepOutcome::Applied { version: 2 }
            )
        };
        subject.one(append(&["a", "b", "c"], &[S1, S2], NOW));
        assert!(matches!(
            subject.one(Step::Retire(vec![S1])),
            StepOutcome::Denied(reason) if reason.contains("is active")
        ));
        let rest = vec![rule("r3", "side", &["f"])];
        apply(&subject, manifest(&["side"], &["f", "g"], rest.clone()));
        assert!(!retire(&subject, &[S1]), "it has three pending");
        subject.one(done(key(S1, 1), 0));
        let reason = DeadReason::Rejected;
        subject.one(settle(
            key(S1, 2),
            0,
            1,
            SettleEnd::Dead {
                reason,
                published: None,
            },
        ));
        let before = subject.store.catalog().unwrap();
        assert!(!retire(&subject, &[S1]), "it has one pending");
        subject.one(done(key(S1, 3), 0));
        assert!(!retire(&subject, &[S1]), "it has a dead letter");
        assert_eq!(subject.store.catalog().unwrap(), before);
        for position in 1..=3 {
            subject.one(done(key(S2, position), 0));
        }
        assert!(
            !retire(&subject, &[S2, S1]),
            "one of the two is not at its end"
        );
        assert!(retire(&subject, &[S2]));
        assert!(!retire(&subject, &[S2]), "it is gone");
        subject.reopen();
        let numbers: Vec<u32> = names(&subject).iter().map(|(id, ..)| *id).collect();
        assert!(!numbers.contains(&2) && numbers.contains(&1), "{numbers:?}");
        // Its successes are listed no more, and every event still has all of its deliveries.
        assert!(subject.store.settled(S2, None, 10).unwrap().is_empty());
        let mut corruption = Vec::new();
        subject
            .store
            .verify(&mut |line| corruption.push(line))
            .unwrap();
        assert!(corruption.is_empty(), "{corruption:?}");
        // The name that comes back is another subscription, even where the last number was retired.
        let last = *numbers.last().unwrap();
        let with = |name: &str| {
            let mut rules = rest.clone();
            rules.push(rule(name, "default", &["f"]));
            manifest(&["side"], &["f", "g"], rules)
        };
        apply(&subject, with("late"));
        apply(&subject, manifest(&["side"], &["f", "g"], rest.clone()));
        let late = SubscriptionId(last.max(3) + 1);
        assert!(matches!(
            subject.one(Step::Retire(vec![late])),
            StepOutcome::Applied { .. }
        ));
        subject.reopen();
        apply(&subject, with("late"));
        let again = names(&subject).pop().unwrap();
        assert_eq!(again, (late.0 + 1, "late/f".to_owned(), true));
    }
}
