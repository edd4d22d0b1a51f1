//! The watches machine's queues fed by hand: no stream, no network, no task.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking

use super::*;

const RANGE: &[u8] = b"q/";

struct Bench {
    machine: Watches,
    now: BootTime,
    out: Vec<Action>,
    level: Reader<Level>,
}

fn kv(name: &str, created: i64, written: i64) -> KeyValue {
    KeyValue {
        key: name.as_bytes().to_vec(),
        create_revision: created,
        mod_revision: written,
        version: written - created + 1,
        ..KeyValue::default()
    }
}

impl Bench {
    fn new() -> Bench {
        let mut machine = Watches::new(Duration::from_secs(15));
        let level = machine.subscribe_queue(&Key::from(RANGE));
        Bench {
            machine,
            now: BootTime(1_000_000_000),
            out: Vec::new(),
            level,
        }
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

    fn event(&mut self, id: i64, event: Event) {
        self.message(Message {
            id,
            events: vec![event],
            ..Message::default()
        });
    }

    fn look(&mut self, read: u64, revision: i64, first: Option<KeyValue>, length: u64) {
        let reply = Reply::Found(revision, Look { first, length });
        self.machine.look_done(read, reply, self.now, &mut self.out);
    }

    /// The one read that is begun now.
    fn read(&mut self) -> u64 {
        let reads: Vec<u64> = reads(&self.step());
        assert_eq!(reads.len(), 1, "{reads:?}");
        reads[0]
    }

    /// The first has just ended: nothing is read before who is next in line could.
    fn read_after_the_next(&mut self) -> u64 {
        assert_eq!(reads(&self.step()), [0; 0]);
        self.now = self.now.after(Duration::from_millis(2));
        self.read()
    }

    /// The one watch that is asked for now: its id, its key (none: the range) and from where.
    fn watch(&mut self) -> (i64, Option<String>, i64) {
        let mut watches = Vec::new();
        for action in self.step() {
            match action {
                Action::Create { id, key, start } => watches.push((id, Some(String::from_utf8(key.to_vec()).unwrap()), start)),
                Action::CreateRange { id, prefix, start } => {
                    assert_eq!(&*prefix, RANGE);
                    watches.push((id, None, start));
                }
                _ => {}
            }
        }
        assert_eq!(watches.len(), 1, "{watches:?}");
        watches.remove(0)
    }

    /// Who is first: creation and last write; at which revision that is known.
    fn shows(&self) -> (Option<(i64, i64)>, i64) {
        let level = self.level.borrow();
        assert!(level.synced);
        (level.kv.as_ref().map(|kv| (kv.create_revision, kv.mod_revision)), level.revision)
    }

    /// A queue whose first is `q/a`, created at 5, of `length`; known at 10. The id of its watch.
    fn led(&mut self, length: u64) -> i64 {
        let (range, ..) = self.watch();
        self.created(range);
        let read = self.read();
        self.look(read, 10, Some(kv("q/a", 5, 5)), length);
        assert!(self.out.contains(&Action::Cancel { id: range }), "{:?}", self.out);
        let (id, key, start) = self.watch();
        assert_eq!((key.as_deref(), start), (Some("q/a"), 11), "from the read on, without a gap");
        self.created(id);
        assert_eq!(reads(&self.step()), [0; 0], "and without another read");
        id
    }
}

fn reads(actions: &[Action]) -> Vec<u64> {
    let read = |action: &Action| if let Action::ReadFirst { read, .. } = action { Some(*read) } else { None };
    actions.iter().filter_map(read).collect()
}

#[test]
fn s11_an_empty_queue_is_watched_whole_and_then_its_first_key_alone() {
    let mut bench = Bench::new();
    let (range, key, start) = bench.watch();
    assert_eq!((key, start), (None, 0));
    assert_eq!(reads(&bench.step()), [0; 0], "not before the watch is there");
    bench.created(range);
    let read = bench.read();
    bench.look(read, 7, None, 0);
    assert_eq!(bench.shows(), (None, 7));
    bench.event(range, Event::Put(kv("q/a", 8, 8)));
    assert_eq!(bench.shows(), (Some((8, 8)), 8), "told by the event itself");
    bench.event(range, Event::Put(kv("q/b", 9, 9)));
    assert_eq!(bench.shows(), (Some((8, 8)), 8), "who joins behind it is nobody's news");
    let (first, key, start) = bench.watch();
    assert_eq!((key.as_deref(), start), (Some("q/a"), 9));
    bench.created(first);
    bench.event(first, Event::Put(kv("q/a", 8, 20)));
    assert_eq!(bench.shows(), (Some((8, 20)), 20), "its own later write");
}

#[test]
fn s11_when_the_first_ends_a_read_says_who_follows() {
    let mut bench = Bench::new();
    let id = bench.led(2);
    bench.event(id, Event::Delete { revision: 30 });
    assert_eq!(bench.shows().0, Some((5, 5)), "no vacancy where one may wait in line");
    let read = bench.read_after_the_next();
    bench.look(read, 31, Some(kv("q/b", 6, 6)), 1);
    assert_eq!(bench.shows(), (Some((6, 6)), 31));
    let (id, key, start) = bench.watch();
    assert_eq!((key.as_deref(), start), (Some("q/b"), 32));
    bench.created(id);
    bench.event(id, Event::Delete { revision: 40 });
    let read = bench.read_after_the_next();
    bench.look(read, 40, None, 0);
    assert_eq!(bench.shows(), (None, 40));
    assert_eq!(bench.watch().1, None, "the whole range again");
}

#[test]
fn s11_a_read_older_than_what_was_heard_is_made_again() {
    let mut bench = Bench::new();
    let (range, ..) = bench.watch();
    bench.created(range);
    let read = bench.read();
    bench.event(range, Event::Put(kv("q/a", 8, 8)));
    bench.look(read, 7, None, 0);
    assert!(!bench.level.borrow().synced, "it says nothing of the present");
    let read = bench.read();
    bench.look(read, 8, Some(kv("q/a", 8, 8)), 1);
    assert_eq!(bench.shows().0, Some((8, 8)));
}

#[test]
fn case_28_a_broken_stream_is_resumed_and_a_read_that_it_interrupted_made() {
    let mut bench = Bench::new();
    let id = bench.led(2);
    let generation = bench.machine.generation;
    bench.machine.broken(generation, bench.now);
    let (again, key, start) = bench.watch();
    assert_eq!((key.as_deref(), start), (Some("q/a"), 11), "from where it broke");
    assert_ne!(again, id, "an id is never used twice");
    bench.created(again);
    bench.event(again, Event::Delete { revision: 30 });
    let lost = bench.read_after_the_next();
    let generation = bench.machine.generation;
    bench.machine.broken(generation, bench.now);
    bench.now = bench.now.after(Duration::from_secs(1));
    let (third, _, start) = bench.watch();
    assert_eq!(start, 0, "what is known does not reach to the present");
    bench.machine.look_done(lost, Reply::Failed, bench.now, &mut bench.out);
    bench.created(third);
    let read = bench.read();
    bench.look(read, 31, Some(kv("q/b", 6, 6)), 1);
    assert_eq!(bench.shows().0, Some((6, 6)));
}

#[test]
fn case_27_a_compacted_watch_and_a_missed_delete_are_found_by_reading() {
    let mut bench = Bench::new();
    let id = bench.led(2);
    bench.message(Message {
        id,
        cancelled: true,
        compacted: true,
        ..Message::default()
    });
    let (again, _, start) = bench.watch();
    assert_eq!(start, 0);
    bench.created(again);
    let read = bench.read();
    bench.look(read, 50, Some(kv("q/a", 5, 5)), 2);
    assert_eq!(bench.shows().0, Some((5, 5)));
    // Nothing is heard any more, and nothing comes: the periodic read finds it.
    bench.now = bench.now.after(Duration::from_secs(20));
    let read = bench.read();
    bench.look(read, 60, Some(kv("q/b", 6, 6)), 1);
    assert_eq!(bench.shows().0, Some((6, 6)));
    assert_eq!(bench.watch().1.as_deref(), Some("q/b"));
}

#[test]
fn s11_a_refused_queue_is_told_once_and_asked_for_again() {
    let mut bench = Bench::new();
    bench.watch();
    bench.message(Message {
        id: -1,
        created: true,
        cancelled: true,
        denied: true,
        reason: "etcdserver: permission denied".to_owned(),
        ..Message::default()
    });
    assert!(matches!(bench.level.borrow().error, Some(Error::PermissionDenied { .. })));
    assert!(bench.step().is_empty());
    bench.now = bench.now.after(Duration::from_secs(20));
    let (id, ..) = bench.watch();
    bench.created(id);
    let read = bench.read();
    bench.machine.look_done(read, Reply::Denied("no".to_owned()), bench.now, &mut bench.out);
    bench.now = bench.now.after(Duration::from_secs(20));
    let read = bench.read();
    bench.look(read, 9, None, 0);
    assert_eq!((bench.shows(), bench.level.borrow().error.clone()), ((None, 9), None));
}

#[test]
fn s11_reads_of_a_long_queue_are_spread() {
    let mut bench = Bench::new();
    let id = bench.led(1000);
    bench.event(id, Event::Delete { revision: 30 });
    assert_eq!(reads(&bench.step()), [0; 0], "a thousand others read now, too");
    bench.now = bench.now.after(Duration::from_millis(503));
    bench.read();
}

#[test]
fn s11_the_last_to_go_takes_the_watch_along() {
    let mut bench = Bench::new();
    let second = bench.machine.subscribe_queue(&Key::from(RANGE));
    let id = bench.led(1);
    let mut out = Vec::new();
    bench.machine.unsubscribe_queue(&Key::from(RANGE), &mut out);
    assert!(out.is_empty());
    drop(second);
    bench.machine.unsubscribe_queue(&Key::from(RANGE), &mut out);
    assert_eq!(out, [Action::Cancel { id }]);
    assert_eq!(bench.machine.step(bench.now, 0, &mut out), None, "nothing left to do");
}

#[test]
fn case_49_another_cluster_is_read_anew() {
    let mut bench = Bench::new();
    bench.led(1);
    bench.machine.forget_cluster(bench.now);
    assert!(!bench.level.borrow().synced);
    let (id, key, start) = bench.watch();
    assert_eq!((key, start), (None, 0));
    bench.created(id);
    let read = bench.read();
    bench.look(read, 2, Some(kv("q/z", 2, 2)), 1);
    assert_eq!(bench.shows(), (Some((2, 2)), 2), "a lower revision than before");
}
