//! Buses, functions, rules and subscriptions as bytes.

use super::{Reader, Writer};
use edgebus_model::{
    Backoff, BusConfig, BusId, Differing, Digest, FunctionConfig, FunctionLimits, InputConfig,
    Name, RetryPolicy, Revision, RuleConfig, Subscription, SubscriptionId, SubscriptionName,
    Target, TargetConfig, TargetKind, Timestamp,
};

pub(crate) fn write_bus(out: &mut Vec<u8>, bus: &BusConfig) {
    out.bytes(bus.name.as_str().as_bytes());
    out.u64(bus.retention_age_ms);
    out.u64(bus.retention_bytes);
    out.u64(bus.dedupe_ms);
    out.u8(match bus.differing {
        Differing::Refuse => 0,
        Differing::Duplicate => 1,
    });
}

pub(crate) fn read_bus(from: &mut Reader<'_>) -> Option<BusConfig> {
    Some(BusConfig {
        name: from.name()?,
        retention_age_ms: from.u64()?,
        retention_bytes: from.u64()?,
        dedupe_ms: from.u64()?,
        differing: match from.format() {
            ..3 => Differing::Refuse,
            _ => match from.u8()? {
                0 => Differing::Refuse,
                1 => Differing::Duplicate,
                _ => return None,
            },
        },
    })
}

pub(crate) fn write_revision(out: &mut Vec<u8>, revision: &Revision) {
    out.bytes(revision.name.as_str().as_bytes());
    out.extend_from_slice(&revision.digest.0);
    out.u32(revision.number);
    out.u64(revision.deployed_at.0);
    write_config(out, &revision.config);
}

pub(super) fn write_config(out: &mut Vec<u8>, config: &FunctionConfig) {
    let limits = &config.limits;
    out.u64(limits.memory_bytes_max);
    out.u64(limits.cpu_ms_max);
    out.u64(limits.timeout_ms_max);
    out.u32(limits.concurrency_max);
    out.u32(limits.emits_max);
    out.u64(limits.emit_bytes_max);
    out.u32(limits.state_writes_max);
    out.u64(limits.state_bytes_max);
    out.u64(limits.output_bytes_max);
    out.list(config.config.iter(), |out, (key, value)| {
        out.bytes(key.as_bytes());
        out.bytes(value.as_bytes());
    });
    for texts in [&config.secrets, &config.allow_http] {
        out.list(texts.iter(), |out, text| out.bytes(text.as_bytes()));
    }
}

pub(crate) fn read_revision(from: &mut Reader<'_>) -> Option<Revision> {
    Some(Revision {
        name: from.name()?,
        digest: Digest(from.array()?),
        number: from.u32()?,
        deployed_at: Timestamp(from.u64()?),
        config: read_config(from)?,
    })
}

pub(super) fn read_config(from: &mut Reader<'_>) -> Option<FunctionConfig> {
    Some(FunctionConfig {
        limits: FunctionLimits {
            memory_bytes_max: from.u64()?,
            cpu_ms_max: from.u64()?,
            timeout_ms_max: from.u64()?,
            concurrency_max: from.u32()?,
            emits_max: from.u32()?,
            emit_bytes_max: from.u64()?,
            state_writes_max: from.u32()?,
            state_bytes_max: from.u64()?,
            output_bytes_max: from.u64()?,
        },
        config: from
            .list(|from| Some((from.text()?, from.text()?)))?
            .into_iter()
            .collect(),
        secrets: from.list(Reader::text)?,
        allow_http: from.list(Reader::text)?,
    })
}

pub(crate) fn write_rule(out: &mut Vec<u8>, rule: &RuleConfig) {
    out.bytes(rule.name.as_str().as_bytes());
    out.bytes(rule.bus.as_str().as_bytes());
    out.option(rule.pattern.as_ref(), |out, text| {
        out.bytes(text.as_bytes());
    });
    out.list(rule.filters.iter(), |out, text| out.bytes(text.as_bytes()));
    out.list(rule.targets.iter(), write_target);
    // Most rules are on and have no description, and end here.
    if !rule.enabled || rule.description.is_some() {
        out.flag(rule.enabled);
        out.option(rule.description.as_ref(), |out, text| {
            out.bytes(text.as_bytes());
        });
    }
}

pub(crate) fn read_rule(from: &mut Reader<'_>) -> Option<RuleConfig> {
    let name = from.name()?;
    let mut rule = RuleConfig {
        bus: from.name()?,
        pattern: from.option(Reader::text)?,
        filters: from.list(Reader::text)?,
        targets: from.list(|from| read_target(from, &name))?,
        name,
        enabled: true,
        description: None,
    };
    if !from.is_at_end() {
        rule.enabled = from.flag()?;
        rule.description = from.option(Reader::text)?;
    }
    Some(rule)
}

pub(crate) fn write_subscription(out: &mut Vec<u8>, subscription: &Subscription) {
    out.bytes(subscription.rule.as_str().as_bytes());
    out.u32(subscription.bus.0);
    write_target(out, &subscription.target);
    out.flag(subscription.active);
}

pub(crate) fn read_subscription(from: &mut Reader<'_>, id: SubscriptionId) -> Option<Subscription> {
    let rule = from.name()?;
    Some(Subscription {
        id,
        bus: BusId(from.u32()?),
        target: read_target(from, &rule)?,
        active: from.flag()?,
        rule,
    })
}

fn write_target(out: &mut Vec<u8>, target: &TargetConfig) {
    out.bytes(target.name.as_str().as_bytes());
    let with_bus = target.dead_letter_bus.as_ref().map_or(0, |_| WITH_BUS);
    out.u8(target.to.kind().number() | with_bus);
    out.bytes(target.to.name().as_str().as_bytes());
    out.u32(target.retry.attempts_max);
    out.u64(target.retry.backoff.initial_ms);
    out.u64(target.retry.backoff.factor.to_bits());
    out.u64(target.retry.backoff.ms_max);
    out.flag(target.retry.backoff.jitter);
    out.u64(target.retry.age_ms_max);
    out.u64(target.dead_letter_ms);
    out.option(target.input.as_ref(), write_input);
    if let Some(bus) = &target.dead_letter_bus {
        out.bytes(bus.as_str().as_bytes());
    }
}

/// In the number of a target's kind: the name of its dead-letter bus stands at its end. The first releases of
/// format 3 know no such kind, so that they don't take such a record for another.
const WITH_BUS: u8 = 0x80;

/// The kind, and whether the name of a dead-letter bus stands at the target's end.
fn read_kind(from: &mut Reader<'_>) -> Option<(TargetKind, bool)> {
    let number = from.u8()?;
    let mut all = TargetKind::ALL.iter();
    let kind = all.find(|kind| kind.number() == number & !WITH_BUS)?;
    Some((*kind, number & WITH_BUS != 0))
}

fn write_input(out: &mut Vec<u8>, input: &InputConfig) {
    match input {
        InputConfig::Path(path) => {
            out.u8(1);
            out.bytes(path.as_bytes());
        }
        InputConfig::Template(template) => {
            out.u8(2);
            out.bytes(template.as_bytes());
        }
        InputConfig::EventBridge { paths, template } => {
            out.u8(3);
            out.list(paths.iter(), |out, (name, path)| {
                out.bytes(name.as_bytes());
                out.bytes(path.as_bytes());
            });
            out.bytes(template.as_bytes());
        }
    }
}

fn read_input(from: &mut Reader<'_>) -> Option<InputConfig> {
    match from.u8()? {
        1 => from.text().map(InputConfig::Path),
        2 => from.text().map(InputConfig::Template),
        3 => Some(InputConfig::EventBridge {
            paths: from.list(|from| Some((from.text()?, from.text()?)))?,
            template: from.text()?,
        }),
        _ => None,
    }
}

/// A target of `rule`. Before format 3 it was a function, and its subscription had no name of its own.
fn read_target(from: &mut Reader<'_>, rule: &Name) -> Option<TargetConfig> {
    let named = from.format() >= 3;
    let (name, to, with_bus) = if named {
        let name = SubscriptionName::new(&from.text()?).ok()?;
        let (kind, with_bus) = read_kind(from)?;
        (name, kind.named(from.name()?), with_bus)
    } else {
        let to = Target::Function(from.name()?);
        (SubscriptionName::of(rule, &to), to, false)
    };
    let mut target = TargetConfig {
        name,
        to,
        input: None,
        retry: RetryPolicy {
            attempts_max: from.u32()?,
            backoff: Backoff {
                initial_ms: from.u64()?,
                factor: f64::from_bits(from.u64()?),
                ms_max: from.u64()?,
                jitter: from.flag()?,
            },
            age_ms_max: from.u64()?,
        },
        dead_letter_ms: from.u64()?,
        dead_letter_bus: None,
    };
    if from.format() >= 2 {
        target.input = from.option(read_input)?;
    }
    if with_bus {
        target.dead_letter_bus = Some(from.name()?);
    }
    Some(target)
}
