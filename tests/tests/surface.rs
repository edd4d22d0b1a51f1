//! The Rust runner of `tests/surface/surface.txt`: the reference surface, step by step, on the test server.
//! Owns how a line is played through the core; the lines and their meaning are `tests/surface/README.md`'s.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a table that cannot be read fails the test

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use leadership_core::{
    CampaignOptions, Compare, CompareOp, Error, Leadership, LeadershipOptions, Lease, Op, Result, WatchEnd,
};
use leadership_testkit::Cluster;
use leadership_tests::world::{Peer, World, simulated};

/// How long a waiting verb waits.
const PATIENCE: Duration = Duration::from_secs(5);

const TABLE: &str = include_str!("../surface/surface.txt");

/// A line: who does what, with which arguments, and what must come of it.
struct Step<'a> {
    number: usize,
    who: &'a str,
    verb: &'a str,
    arguments: Vec<(&'a str, &'a str)>,
    answer: &'a str,
}

impl<'a> Step<'a> {
    fn parse(number: usize, line: &'a str) -> Step<'a> {
        let (call, answer) = line.split_once("->").unwrap_or_else(|| panic!("line {number}: no answer"));
        let mut words = call.split_whitespace();
        Step {
            number,
            who: words.next().unwrap(),
            verb: words.next().unwrap(),
            arguments: words.map(|word| word.split_once('=').unwrap()).collect(),
            answer: answer.trim(),
        }
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        self.arguments.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> &'a str {
        self.find(name).unwrap_or_else(|| panic!("line {}: {} needs {name}=", self.number, self.verb))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        decode(self.text(name))
    }

    fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.text(name).parse().unwrap())
    }

    fn compares(&self, name: &str) -> Vec<Compare> {
        let all = self.arguments.iter().filter(|(found, _)| *found == name);
        all.map(|(_, text)| compare(text)).collect()
    }
}

fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            decoded.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

fn encode(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b' ' | b'=' | b'%' | 0x7f.. | ..0x20 => format!("%{byte:02X}"),
        plain => char::from(*plain).to_string(),
    };
    bytes.iter().map(one).collect()
}

fn compare(text: &str) -> Compare {
    let [target, key, op, operand] = text.split(':').collect::<Vec<_>>()[..] else { panic!("compare {text}") };
    let op = match op {
        "==" => CompareOp::Equal,
        "!=" => CompareOp::NotEqual,
        ">" => CompareOp::Greater,
        "<" => CompareOp::Less,
        other => panic!("operator {other}"),
    };
    let number = || operand.parse().unwrap();
    match target {
        "create" => Compare::create_revision(key, op, number()),
        "mod" => Compare::mod_revision(key, op, number()),
        "version" => Compare::version(key, op, number()),
        "lease" => Compare::lease(key, op, number()),
        "value" => Compare::value(key, op, decode(operand)),
        other => panic!("target {other}"),
    }
}

/// An answer as the table writes it.
fn told(answer: Result<String>) -> String {
    let error = match answer {
        Ok(text) => return text,
        Err(error) => error,
    };
    let detail = match &error {
        Error::InvalidArgument { argument, .. } => Some(argument.clone()),
        Error::NotElected { holder: Some(holder), .. } => Some(encode(&holder.value)),
        Error::NotLeader { reason: Some(reason), .. } => Some(reason.name().to_owned()),
        _ => None,
    };
    match detail {
        Some(detail) => format!("error {} {detail}", error.name()),
        None => format!("error {}", error.name()),
    }
}

/// The detail of an error may be left out in the table.
fn is_as_told(expected: &str, got: &str) -> bool {
    got == expected || expected.starts_with("error ") && got.split_whitespace().take(2).eq(expected.split_whitespace())
}

struct Contender {
    peer: Peer,
    lead: Leadership,
    lease: Option<Lease>,
}

impl Contender {
    fn new(world: &World, name: &str) -> Contender {
        let peer = world.peer(u64::from(name.as_bytes()[0]));
        let lead = peer.leadership_with("k", LeadershipOptions::default().purpose("surface"));
        Contender { peer, lead, lease: None }
    }

    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("a lease was granted before")
    }

    async fn play(&mut self, step: &Step<'_>, store: &Cluster) -> Result<String> {
        let done = |()| "ok".to_owned();
        let lead = &self.lead;
        match step.verb {
            "campaign" => {
                let options = CampaignOptions::new(step.bytes("value")).ttl(step.seconds("ttl"));
                let options = step.compares("compare").into_iter().fold(options, CampaignOptions::compare);
                lead.campaign(options).await.map(|_| done(()))
            }
            "keep" => lead.keep().map(done),
            "reset" => lead.reset().await.map(done),
            "delete_leader_key" => lead.delete_leader_key().await.map(done),
            "delete_at" => {
                let revision = match step.text("revision") {
                    "seen" => store.get("k").map_or(0, |kv| kv.mod_revision),
                    number => number.parse().unwrap(),
                };
                lead.delete_leader_key_at(revision).await.map(done)
            }
            "check" => Ok(lead.check().to_string()),
            "lost" => {
                let reason = lead.term().and_then(|term| term.lost_reason());
                Ok(reason.map_or("none", |reason| reason.name()).to_owned())
            }
            "await_lost" => {
                let term = lead.term().expect("a term");
                let reason = tokio::time::timeout(PATIENCE, term.lost()).await.expect("lost in time");
                Ok(reason.name().to_owned())
            }
            "token_is_create" => {
                let created = store.get("k").map(|kv| kv.create_revision);
                Ok((lead.term().map(|term| term.token()) == created).to_string())
            }
            "put" => {
                let mut txn = lead.txn()?.when(step.compares("when"));
                txn = txn.then([Op::put(step.bytes("key"), step.bytes("value"))]);
                if step.find("else_key").is_some() {
                    txn = txn.or_else([Op::put(step.bytes("else_key"), step.bytes("else_value"))]);
                }
                txn.commit().await.map(|reply| reply.succeeded.to_string())
            }
            "watch" => {
                let watching = lead.watch(step.text("revision").parse().unwrap());
                let end = tokio::time::timeout(PATIENCE, watching).await.expect("the watch ends in time")?;
                Ok(match end {
                    WatchEnd::Deleted { .. } => "deleted".to_owned(),
                    WatchEnd::Overwritten { .. } => "overwritten".to_owned(),
                    other => format!("{other:?}"),
                })
            }
            "primary" => {
                lead.set_primary_watch(step.text("on") == "true");
                Ok(done(()))
            }
            "is_primary" => Ok(lead.is_primary().to_string()),
            "leader" => {
                let leader = self.peer.client.get_leader("k").await?;
                Ok(leader.map_or("none".to_owned(), |leader| encode(&leader.value)))
            }
            "add_campaign" => {
                lead.add_campaign_times();
                Ok(done(()))
            }
            "campaigns" => Ok(lead.campaign_times_num().to_string()),
            "reset_campaigns" => {
                lead.reset_campaign_times();
                Ok(done(()))
            }
            "value" => Ok(encode(&lead.value())),
            "purpose" => Ok(lead.purpose().to_owned()),
            "key" => Ok(encode(lead.key())),
            "new" => Leadership::new(&self.peer.client, step.bytes("key"), "surface").map(|_| done(())),
            "grant" => {
                self.lease = Some(Lease::grant(&self.peer.client, step.seconds("ttl"), "surface").await?);
                Ok(done(()))
            }
            "ttl_granted" => Ok(self.lease().ttl().as_secs().to_string()),
            "expired" => Ok(self.lease().is_expired().to_string()),
            "close_lease" => self.lease().close().await.map(done),
            "keep_alive" => self.lease().keep_alive().map(done),
            "set_lease" => lead.set_lease(self.lease.clone()).map(done),
            "close" => self.peer.client.close().await.map(done),
            other => panic!("line {}: {other} is no verb of a contender", step.number),
        }
    }
}

fn stranger(step: &Step<'_>, store: &Cluster, contenders: &BTreeMap<&str, Contender>) -> String {
    match step.verb {
        "put" => drop(store.put(step.bytes("key"), step.bytes("value"), 0)),
        "delete" => drop(store.delete(step.bytes("key"))),
        "revoke" => {
            let term = contenders[step.text("who")].lead.term().expect("a term to revoke the lease of");
            assert!(store.revoke(term.lease_id()), "line {}: no such lease", step.number);
        }
        "get" => return store.get(step.bytes("key")).map_or("none".to_owned(), |kv| encode(&kv.value)),
        other => panic!("line {}: {other} is no verb of the stranger", step.number),
    }
    "ok".to_owned()
}

/// What went otherwise than the table says.
async fn play(world: &World, steps: &[Step<'_>]) -> Vec<String> {
    let store = world.cluster.as_ref().unwrap();
    let mut contenders = BTreeMap::new();
    let mut wrong = Vec::new();
    for step in steps {
        let got = if step.who == "stranger" {
            stranger(step, store, &contenders)
        } else {
            let contender = contenders.entry(step.who).or_insert_with(|| Contender::new(world, step.who));
            told(contender.play(step, store).await)
        };
        if !is_as_told(step.answer, &got) {
            wrong.push(format!("line {}: {} {} -> {got}, not {}", step.number, step.who, step.verb, step.answer));
        }
    }
    wrong
}

fn cases() -> Vec<(&'static str, Vec<Step<'static>>)> {
    let mut cases: Vec<(&str, Vec<Step<'_>>)> = Vec::new();
    for (index, line) in TABLE.lines().enumerate() {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix("case ") {
            cases.push((name, Vec::new()));
        } else if !line.is_empty() && !line.starts_with('#') {
            cases.last_mut().expect("a case before the first step").1.push(Step::parse(index + 1, line));
        }
    }
    cases
}

#[test]
fn every_case_of_the_table_answers_as_written() {
    let cases = cases();
    assert!(!cases.is_empty());
    let played = cases.len();
    let wrong = Rc::new(RefCell::new(Vec::new()));
    for (name, steps) in cases {
        let (wrong, steps) = (wrong.clone(), Rc::new(steps));
        simulated(move |world| {
            let (wrong, steps) = (wrong.clone(), steps.clone());
            Box::pin(async move {
                let said = play(world, &steps).await;
                wrong.borrow_mut().extend(said.into_iter().map(|line| format!("{name} (seed {}): {line}", world.seed)));
            })
        });
    }
    let wrong = wrong.borrow();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    println!("{} cases played", played);
}

#[test]
fn an_answer_that_differs_is_seen() {
    assert!(is_as_told("error NotElected", "error NotElected one"), "a detail may be left out");
    assert!(!is_as_told("error NotElected two", "error NotElected one"));
    assert!(!is_as_told("ok", "error NotElected"));
    assert!(!is_as_told("false", "true"));
    assert!(!is_as_told("", "none"), "an empty value is a leader");
    simulated(|world| {
        Box::pin(async {
            let wrong = play(world, &[Step::parse(1, "a check -> true"), Step::parse(2, "a check -> false")]).await;
            assert_eq!(wrong, ["line 1: a check -> false, not true"]);
        })
    });
}
