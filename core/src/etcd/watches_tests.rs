//! The watches machine fed by hand: no stream, no network, no task.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use super::*;

struct Bench {
    machine: Watches,
    now: BootTime,
    out: Vec<Action>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            machine: Watches::new(Duration::from_secs(15)),
            now: BootTime(1_000_000_000),
            out: Vec::new(),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
    }

    fn step(&mut self) -> Vec<Action> {
        self.machine.step(self.now, 500, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn message(&mut self, message: Message) {
        let generation = self.machine.generation;
        self.machine.message(generation, message, self.now, &mut self.out, &mut Vec::new());
    }

    fn created(&mut self, id: i64) {
        self.message(Message {
            id,
            created: true,
            ..Message::default()
        });
    }

    fn events(&mut self, id: i64, events: Vec<Event>) {
        self.message(Message {
            id,
            events,
            ..Message::default()
        });
    }

    /// Answers every read of `actions` for one key.
    fn answer(&mut self, actions: &[Action], revision: i64, kv: Option<KeyValue>) {
        for action in actions {
            if let Action::Read { read, .. } = action {
                self.read_done(*read, Reply::Found(revision, vec![kv.clone()]));
            }
        }
    }

    fn read_done(&mut self, read: u64, reply: Reply) {
        self.machine.read_done(read, reply, self.now, &mut self.out, &mut Vec::new());
    }

    /// A refusal of the oldest creation that is not answered.
    fn refuse(&mut self) {
        self.message(Message {
            id: -1,
            created: true,
            cancelled: true,
            denied: true,
            reason: "etcdserver: permission denied".to_owned(),
            ..Message::default()
        });
    }

    /// So many keys `k…`, live and absent.
    fn many(&mut self, count: usize) -> Vec<Reader<Level>> {
        let levels = (0..count).map(|index| self.machine.subscribe(&Key::from(format!("k{index:04}").as_bytes()))).collect();
        for action in self.step() {
            if let Action::Create { id, .. } = action {
                self.created(id);
            }
        }
        for (read, keys) in reads(&self.step()) {
            self.read_done(read, Reply::Found(1, vec![None; keys.len()]));
        }
        levels
    }

    /// Answers reads as etcd does when `denied` may not be read, until no more come. Which were read, and how often.
    fn answer_denying(&mut self, actions: Vec<Action>, denied: &str) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut actions = actions;
        while !reads(&actions).is_empty() {
            for (read, keys) in reads(&actions) {
                sizes.push(keys.len());
                let reply = match keys.iter().any(|key| **key == *denied.as_bytes()) {
                    true => Reply::Denied("permission denied".to_owned()),
                    false => Reply::Found(5, vec![Some(kv(5, 5)); keys.len()]),
                };
                self.read_done(read, reply);
            }
            actions = self.step();
        }
        sizes
    }

    /// A key watched, created, and read as this at `revision`. Its id and level.
    fn live(&mut self, kv: Option<KeyValue>, revision: i64) -> (i64, Reader<Level>) {
        let level = self.machine.subscribe(&Key::from(*b"k"));
        let actions = self.step();
        let id = create(&actions).0;
        self.created(id);
        let actions = self.step();
        self.answer(&actions, revision, kv);
        (id, level)
    }
}

fn create(actions: &[Action]) -> (i64, i64) {
    let found = actions.iter().find_map(|a| if let Action::Create { id, start, .. } = a { Some((*id, *start)) } else { None });
    found.unwrap_or_else(|| panic!("no create in {actions:?}"))
}

fn reads(actions: &[Action]) -> Vec<(u64, Vec<Key>)> {
    let read = |action: &Action| if let Action::Read { read, keys } = action { Some((*read, keys.clone())) } else { None };
    actions.iter().filter_map(read).collect()
}

fn kv(create_revision: i64, mod_revision: i64) -> KeyValue {
    KeyValue {
        create_revision,
        mod_revision,
        ..KeyValue::default()
    }
}

#[test]
fn s11_a_watch_is_made_without_a_gap_created_then_read_then_events_above_the_read() {
    let mut bench = Bench::new();
    let level = bench.machine.subscribe(&Key::from(*b"k"));
    let actions = bench.step();
    assert!(matches!(actions[0], Action::Open { to: To::Same, .. }));
    let (id, start) = create(&actions);
    assert_eq!(start, 0);
    assert!(!bench.step().iter().any(|a| matches!(a, Action::Read { .. })), "read only once the watch is there");
    bench.created(id);
    // An event between the creation and the read: not lost, and the older read does not undo it.
    bench.events(id, vec![Event::Delete { revision: 9 }]);
    let actions = bench.step();
    bench.answer(&actions, 8, Some(kv(5, 5)));
    let seen = level.borrow().clone();
    assert!(seen.synced && seen.kv.is_none() && seen.revision == 9 && seen.deleted == Some(9), "{seen:?}");
    // At or below what is known: ignored.
    bench.events(id, vec![Event::Put(kv(5, 9))]);
    assert!(level.borrow().kv.is_none());
}

#[test]
fn s15_the_delete_directly_before_a_creation_is_remembered_and_a_gap_forgets_it() {
    let mut bench = Bench::new();
    let (id, level) = bench.live(Some(kv(3, 3)), 4);
    bench.events(id, vec![Event::Delete { revision: 7 }, Event::Put(kv(9, 9))]);
    assert_eq!(level.borrow().deleted, Some(7));
    bench.events(id, vec![Event::Put(kv(9, 10))]);
    assert_eq!(level.borrow().deleted, Some(7), "a later write of the same key changes nothing");
    bench.events(id, vec![Event::Delete { revision: 11 }, Event::Put(kv(12, 12)), Event::Delete { revision: 13 }]);
    bench.events(id, vec![Event::Put(kv(14, 14))]);
    assert_eq!(level.borrow().deleted, Some(13), "the one directly before, not an earlier one");
    // Compacted: what happened meanwhile is not known.
    bench.message(Message {
        id,
        cancelled: true,
        compacted: true,
        ..Message::default()
    });
    let again = bench.step();
    let (new_id, start) = create(&again);
    assert!(new_id != id && start == 0, "a new id: the old one stays taken");
    bench.created(new_id);
    let actions = bench.step();
    bench.answer(&actions, 30, Some(kv(20, 20)));
    let seen = level.borrow().clone();
    assert_eq!((seen.kv.unwrap().create_revision, seen.deleted), (20, None));
}

#[test]
fn case_28_after_a_break_it_goes_on_from_the_next_revision() {
    let mut bench = Bench::new();
    let (_, level) = bench.live(None, 41);
    let generation = bench.machine.generation;
    bench.machine.broken(generation, bench.now);
    let actions = bench.step();
    assert!(matches!(actions[0], Action::Open { to: To::Next, .. }), "on another member, at once");
    let (id, start) = create(&actions);
    assert_eq!(start, 42);
    bench.created(id);
    bench.events(id, vec![Event::Put(kv(42, 42))]);
    assert_eq!(level.borrow().revision, 42);
}

#[test]
fn case_28_a_key_that_is_long_unchanged_is_resumed_from_its_last_read() {
    let mut bench = Bench::new();
    bench.live(Some(kv(3, 3)), 41);
    bench.machine.broken(bench.machine.generation, bench.now);
    assert_eq!(create(&bench.step()).1, 42, "from its last change etcd would go through all history since, or has compacted it");
}

#[test]
fn case_30_a_silent_stream_is_probed_and_rebuilt_but_not_over_and_over() {
    let mut bench = Bench::new();
    bench.live(None, 1);
    bench.pass(9_999);
    assert!(bench.step().is_empty(), "an idle stream is not a dead one");
    bench.pass(1);
    let (probe, _) = create(&bench.step());
    // It answers: the throw-away watch is cancelled, and nothing is rebuilt.
    bench.created(probe);
    assert_eq!(bench.out, [Action::Cancel { id: probe }]);
    bench.out.clear();
    // The next one goes unanswered, and so does every stream after it.
    let mut rebuilt = Vec::new();
    for _ in 0..120_000 {
        bench.pass(1);
        if bench.step().iter().any(|action| matches!(action, Action::Open { .. })) {
            rebuilt.push(bench.now);
        }
    }
    assert!(rebuilt.len() >= 3, "it goes on trying");
    assert!(rebuilt.len() <= 60, "but not over and over: {} in two minutes", rebuilt.len());
}

#[test]
fn case_28_29_the_stream_goes_along_with_the_renewals_but_not_over_and_over() {
    let mut bench = Bench::new();
    let (_, level) = bench.live(None, 41);
    bench.machine.opened(0);
    bench.machine.follow(0);
    assert_eq!(bench.step(), [], "it is there");
    bench.machine.follow(1);
    let actions = bench.step();
    assert!(matches!(actions[0], Action::Open { to: To::Member(1), .. }), "{actions:?}");
    bench.machine.opened(1);
    let (id, start) = create(&actions);
    assert_eq!(start, 42, "from the next revision");
    bench.created(id);
    bench.events(id, vec![Event::Put(kv(42, 42))]);
    assert_eq!(level.borrow().revision, 42);
    // There and back within a moment is no reason to move; and elsewhere, only when the last move is a while ago.
    bench.machine.follow(2);
    bench.machine.follow(1);
    bench.pass(1_000);
    assert_eq!(bench.step(), []);
    // Renewals that go round and round: the stream moves ever more seldom.
    let mut moves = Vec::new();
    for ms in 0..120_000u64 {
        bench.pass(1);
        if ms % 300 == 0 {
            bench.machine.follow(usize::try_from(ms / 300 % 3).unwrap());
        }
        for action in bench.step() {
            match action {
                Action::Open { to: To::Member(member), .. } => {
                    bench.machine.opened(member);
                    moves.push(ms);
                }
                Action::Create { id, .. } => bench.created(id),
                _ => {}
            }
        }
    }
    assert!(moves.len() >= 4, "{moves:?}");
    assert!(moves.len() <= 10 && moves.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{moves:?}");
}

#[test]
fn a_refused_creation_is_told_by_its_place_not_its_id() {
    let mut bench = Bench::new();
    let level = bench.machine.subscribe(&Key::from(*b"a"));
    let other = bench.machine.subscribe(&Key::from(*b"b"));
    let actions = bench.step();
    assert_eq!(actions.iter().filter(|a| matches!(a, Action::Create { .. })).count(), 2);
    bench.refuse();
    assert!(matches!(level.borrow().error, Some(Error::PermissionDenied { .. })));
    assert!(other.borrow().error.is_none());
}

#[test]
fn case_09_a_refused_watch_is_asked_for_again_with_the_periodic_reads_and_begins_anew() {
    let mut bench = Bench::new();
    let level = bench.machine.subscribe(&Key::from(*b"k"));
    bench.step();
    bench.refuse();
    bench.pass(2_000);
    bench.machine.heard = bench.now; // no probing in this test
    assert_eq!(bench.step(), [], "not at once");
    for round in 0..3 {
        bench.pass(18_001); // 15 s + 20 %
        bench.machine.heard = bench.now;
        let actions = bench.step();
        assert!(matches!(actions[..], [Action::Create { start: 0, .. }]), "round {round}: {actions:?}");
        assert!(level.borrow().error.is_some());
        bench.refuse();
    }
    bench.pass(18_001);
    bench.machine.heard = bench.now;
    let id = create(&bench.step()).0;
    bench.created(id);
    let actions = bench.step();
    bench.answer(&actions, 7, Some(kv(6, 6)));
    let seen = level.borrow().clone();
    assert!(seen.synced && seen.error.is_none() && seen.kv.is_some(), "{seen:?}");
    bench.events(id, vec![Event::Delete { revision: 8 }]);
    assert_eq!(level.borrow().deleted, Some(8));
}

#[test]
fn s11_case_09_a_key_that_may_not_be_read_denies_no_other_its_periodic_read() {
    let mut bench = Bench::new();
    let levels = bench.many(100);
    bench.machine.heard = BootTime(u64::MAX / 2);
    bench.pass(18_001);
    let actions = bench.step();
    let sizes = bench.answer_denying(actions, "k0042");
    assert!(sizes.len() <= 15, "halved: {sizes:?}");
    for (index, level) in levels.iter().enumerate() {
        let seen = level.borrow().clone();
        assert_eq!((seen.error.is_some(), seen.kv.is_some()), (index == 42, index != 42), "{index}: {seen:?}");
    }
    // From then on it is read alone, until it may be read again.
    bench.pass(18_001);
    let actions = bench.step();
    assert_eq!(bench.answer_denying(actions, "k0042"), [99, 1]);
    bench.pass(18_001);
    let actions = bench.step();
    assert_eq!(bench.answer_denying(actions, "another"), [99, 1]);
    assert!(levels[42].borrow().error.is_none() && levels[42].borrow().kv.is_some());
    bench.pass(18_001);
    let actions = bench.step();
    assert_eq!(bench.answer_denying(actions, "another"), [100]);
}

#[test]
fn s11_the_periodic_reads_are_spread_over_the_interval() {
    let mut bench = Bench::new();
    bench.many(10 * BATCH);
    bench.machine.heard = BootTime(u64::MAX / 2);
    let mut read = Vec::new();
    for ms in 0..15_000 {
        bench.pass(1);
        for (id, keys) in reads(&bench.step()) {
            read.push((ms, keys.clone()));
            bench.read_done(id, Reply::Found(2, vec![None; keys.len()]));
        }
    }
    let mut keys: Vec<_> = read.iter().flat_map(|(_, keys)| keys).collect();
    assert!(read.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1_000), "one after the other");
    let times = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((read.len(), keys.len(), times), (10, 10 * BATCH, 10 * BATCH), "each key once in the interval");
}

#[test]
fn case_27_s11_the_periodic_read_finds_a_missed_delete() {
    let mut bench = Bench::new();
    let (_, level) = bench.live(Some(kv(3, 3)), 4);
    bench.machine.heard = BootTime(u64::MAX / 2); // no probing: the stream seems alive and says nothing
    bench.pass(18_001); // 15 s + 20 %
    let actions = bench.step();
    bench.answer(&actions, 9, None);
    assert!(level.borrow().kv.is_none());
    assert_eq!(level.borrow().revision, 9);
}

#[test]
fn s15_an_absence_read_again_hides_no_strangers_win_and_loss_from_the_takeover_delay() {
    let mut bench = Bench::new();
    let (id, level) = bench.live(Some(kv(3, 3)), 4);
    bench.events(id, vec![Event::Delete { revision: 7 }]);
    bench.machine.heard = BootTime(u64::MAX / 2); // the stream lags and is not probed
    bench.pass(18_001);
    let actions = bench.step();
    bench.answer(&actions, 12, None); // a stranger took the key at 9 and lost it at 11; its events are on their way
    bench.events(id, vec![Event::Put(kv(9, 9)), Event::Delete { revision: 11 }, Event::Put(kv(14, 14))]);
    assert_ne!(level.borrow().deleted, Some(7), "the mark of 7 is not the one directly before 14");
}

#[test]
fn the_last_user_ends_the_watch() {
    let mut bench = Bench::new();
    let (id, _level) = bench.live(None, 1);
    let _second = bench.machine.subscribe(&Key::from(*b"k"));
    let mut out = Vec::new();
    bench.machine.unsubscribe(b"k", &mut out);
    assert!(out.is_empty());
    bench.machine.unsubscribe(b"k", &mut out);
    assert_eq!(out, [Action::Cancel { id }]);
}
