//! What is published when a delivery becomes a dead letter.

use super::*;
use edgebus_model::DeadReason;

/// Two buses; `fails` on the first runs `script` and names `bus` for its dead letters, and `repairs` gets
/// what dies by a rejection on the second.
async fn apply_with_bus(pipeline: &Pipeline, script: &str, bus: &str) {
    let name = |text: &str| Name::new(text).unwrap();
    let function = |own: &str, script: &str| {
        let source = FunctionSource::Component(Bytes::copy_from_slice(script.as_bytes()));
        (name(own), source, FunctionConfig::default())
    };
    let rule = |own: &str, bus: &str, pattern: &str, target: TargetConfig| RuleConfig {
        enabled: true,
        description: None,
        name: name(own),
        bus: name(bus),
        pattern: Some(pattern.to_owned()),
        filters: Vec::new(),
        targets: vec![target],
    };
    let to = |own: &str| TargetConfig::with_defaults(&name(own), Target::Function(name(own)));
    let fails = TargetConfig {
        dead_letter_bus: Some(name(bus)),
        ..to("fails")
    };
    let rules = vec![
        rule("fails", "default", r#"{"type":["t"]}"#, fails),
        rule(
            "repairs",
            "dead",
            r#"{"deadreason":["rejected"]}"#,
            to("repairs"),
        ),
    ];
    let functions = vec![function("fails", script), function("repairs", "ok")];
    let buses = ["default", "dead"].map(|own| BusConfig::with_defaults(name(own)));
    pipeline
        .apply_manifest("test".to_owned(), buses.to_vec(), functions, rules, None)
        .await
        .unwrap();
}

fn log(pipeline: &Pipeline, bus: &str) -> Vec<edgebus_store::StoredEvent> {
    let bus = pipeline.snapshot().buses[bus].id;
    pipeline.store().events(bus, Position(0), 100).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_published_on_its_bus_and_handled_there() {
    let pipeline = memory_pipeline().await;
    apply_with_bus(&pipeline, "reject not\tmine", "dead").await;
    let mut event = event("a", "t", r#"{"n":1}"#);
    // What an event says of its own death is replaced.
    for (name, value) in [("deadreason", "old"), ("kept", "yes")] {
        let value = Attribute::Text(value.to_owned());
        event.extensions.push((name.to_owned(), value));
    }
    pipeline.publish("default", vec![event]).await.unwrap();
    // What was published on the other bus is pending once the first delivery is dead.
    settled(&pipeline).await;
    settled(&pipeline).await;
    let dead = log(&pipeline, "dead");
    assert_eq!(dead.len(), 1);
    let published = &dead[0].event;
    assert_ne!(published.id, "a");
    assert_eq!(published.kind, "t");
    assert_eq!(
        published.data,
        Data::Json(Bytes::from_static(br#"{"n":1}"#))
    );
    let text = |value: &str| Attribute::Text(value.to_owned());
    let expected = [
        ("kept", text("yes")),
        ("causationid", text("a")),
        ("deadreason", text("rejected")),
        ("deadmessage", text("notmine")),
        ("deadattempts", Attribute::Integer(1)),
        ("deadsubscription", text("fails/fails")),
        ("deadbus", text("default")),
        ("deadposition", text("1")),
        ("deadid", text("a")),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(published.extensions, expected);
    assert_eq!(dead[0].lineage.hops, 1);
    // The dead letter is there as ever, and the rule of the other bus has handled what was published.
    let fails = dead[0].lineage.parent.unwrap().subscription;
    assert_eq!(pipeline.store().counts(fails).unwrap().dead, 1);
    let repairs = dead[0].subscriptions[0];
    assert_eq!(pipeline.store().settled(repairs, None, 9).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_dead_letters_ends_and_each_of_them_is_kept() {
    let pipeline = memory_pipeline().await;
    apply_with_bus(&pipeline, "reject no", "default").await;
    pipeline
        .publish("default", vec![event("a", "t", "{}")])
        .await
        .unwrap();
    settled(&pipeline).await;
    let log = log(&pipeline, "default");
    assert_eq!(log.len(), 17, "one published and sixteen that died");
    let id = log[0].subscriptions[0];
    let letters = pipeline.store().dead_letters(id, None, 100).unwrap();
    assert_eq!(letters.len(), 17);
    let last = &letters[16].delivery.attempts[0];
    assert_eq!(
        last.output,
        "WARN the dead letter was not published on bus `default`: it went through too many functions and buses\n"
    );
    assert_eq!(letters[16].reason, DeadReason::Rejected);
}

/// Many deaths are few events on the bus of the bus's own, a rule gets them, and what dies of that is told to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn deaths_are_told_on_the_bus_of_the_bus_s_own_events() {
    let pipeline = memory_pipeline().await;
    let name = |text: &str| Name::new(text).unwrap();
    let rule = |own: &str, bus: &str, kind: &str| RuleConfig {
        enabled: true,
        description: None,
        name: name(own),
        bus: name(bus),
        pattern: Some(format!(r#"{{"type":["{kind}"]}}"#)),
        filters: Vec::new(),
        targets: vec![TargetConfig::with_defaults(
            &name(own),
            Target::Function(name(own)),
        )],
    };
    let rules = vec![
        rule("fails", "default", "t"),
        rule("alert", "system", "dev.edgebus.dead-letter.created"),
    ];
    let functions = ["fails", "alert"].map(|own| {
        let script = Bytes::from_static(b"reject no");
        let source = FunctionSource::Component(script);
        (name(own), source, FunctionConfig::default())
    });
    let buses = ["default", "system"].map(|own| BusConfig::with_defaults(name(own)));
    pipeline
        .apply_manifest(
            "test".to_owned(),
            buses.to_vec(),
            functions.to_vec(),
            rules,
            None,
        )
        .await
        .unwrap();
    let of_kind = |kind: &str| {
        let mut events = log(&pipeline, "system");
        events.retain(|stored| stored.event.kind == format!("dev.edgebus.{kind}"));
        events
    };
    let events = (0..500).map(|number| event(&number.to_string(), "t", "1"));
    pipeline.publish("default", events.collect()).await.unwrap();
    settled(&pipeline).await;
    pipeline.tell_lifecycle(false).await;
    settled(&pipeline).await;
    let first = of_kind("dead-letter.created");
    assert!(matches!(first.len(), 1 | 2), "{first:?}");
    pipeline.tell_lifecycle(true).await;
    settled(&pipeline).await;
    pipeline.tell_lifecycle(true).await;
    let told = of_kind("dead-letter.created");
    assert!(told.len() <= 3, "{told:?}");
    let mut count = 0;
    for stored in &told {
        let event = &stored.event;
        assert_eq!(event.subject.as_deref(), Some("fails/fails"));
        let Data::Json(data) = &event.data else {
            panic!("it has data")
        };
        let data = std::str::from_utf8(data).unwrap();
        assert!(!data.contains("\"no\""), "never what a function said");
        let (_, after) = data.split_once("\"count\":").unwrap();
        let (digits, _) = after.split_once(',').unwrap();
        count += digits.parse::<u64>().unwrap();
        assert!(
            data.contains(r#""reason":"rejected","attempts":1"#),
            "{data}"
        );
    }
    assert_eq!(count, 500);
    assert_eq!(of_kind("manifest.applied").len(), 1);
    // The rule got them, and its own deaths are told to nobody.
    let alert = SubscriptionId(2);
    let letters = pipeline.store().dead_letters(alert, None, 99).unwrap();
    assert_eq!(letters.len(), told.len());
}
