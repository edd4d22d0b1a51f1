//! The run: etcd started, sections measured in interleaved rounds, tables printed, raw figures written.
//! Owns the order and the sizes; what a section measures is the library's. `--quick` is the short form; names of sections
//! choose some of them.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use leadership_bench::report::{Spread, machine, table, write_raw};
use leadership_bench::job::{Job, Layout};
use leadership_bench::{Result, abi, check, crowd, elections, handover, idle};
use leadership_tests::etcd::{Etcd, Version};
use serde_json::{Value, json};

/// Renewals at the price of the bare stream, times this at most: what the confirming reads may cost.
const GOAL_RENEWAL: f64 = 1.3;
/// Memory of one more leadership, in bytes.
const GOAL_MEMORY: f64 = 2048.0;

struct Sizes {
    check: check::Size,
    count: usize,
    window: Duration,
    rounds: usize,
    handovers: usize,
    crowd: crowd::Size,
    idle: Duration,
    elections: (usize, Duration),
}

/// The sections, by name.
const SECTIONS: [&str; 6] = ["check", "renewals", "handover", "elections", "crowd", "idle"];

const FULL: Sizes = Sizes {
    check: check::Size { rounds: 200, calls: 100_000 },
    count: 5000,
    window: Duration::from_secs(10),
    rounds: 3,
    handovers: 200,
    crowd: crowd::Size { rounds: 2, changes: 100 },
    idle: Duration::from_secs(60),
    elections: (10, Duration::from_secs(2)),
};

const QUICK: Sizes = Sizes {
    check: check::Size { rounds: 60, calls: 20_000 },
    count: 5000,
    window: Duration::from_secs(3),
    rounds: 2,
    handovers: 50,
    crowd: crowd::Size { rounds: 1, changes: 20 },
    idle: Duration::from_secs(20),
    elections: (4, Duration::from_secs(1)),
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if let Some(job) = Job::of_this_process()? {
        println!("{}", job.measure()?);
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let sizes = if quick { QUICK } else { FULL };
    let chosen: Vec<&String> = arguments.iter().filter(|argument| *argument != "--quick").collect();
    if let Some(unknown) = chosen.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        return Err(format!("no section {unknown}; there are: {}", SECTIONS.join(" ")).into());
    }
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|one| *one == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut raw = Vec::new();
    let machine = runtime.block_on(async {
        let etcd = Etcd::start(Version::LATEST).await?;
        let facts = machine(etcd.status(0).await?.version());
        print_machine(&facts);
        let endpoint = endpoint(&etcd, 0)?;
        if wanted("check") {
            raw.extend(check::section(&endpoint, sizes.check).await?);
            raw.extend(abi::c_section(&endpoint, sizes.check)?);
            raw.extend(abi::python_section(&endpoint, sizes.check)?);
        }
        if wanted("handover") {
            raw.extend(handover::section(&endpoint, sizes.handovers).await?);
        }
        if wanted("elections") {
            let (rounds, window) = sizes.elections;
            raw.extend(elections::section(&endpoint, rounds, window).await?);
        }
        Result::Ok(facts)
    })?;
    if wanted("idle") {
        raw.extend(runtime.block_on(idle::section(sizes.idle))?);
    }
    if wanted("crowd") {
        raw.extend(runtime.block_on(crowd::section(sizes.crowd))?);
    }
    if wanted("renewals") {
        raw.extend(runtime.block_on(renewals(&sizes))?);
    }
    let path = write_raw(&machine, &raw)?;
    eprintln!("raw figures: {}", path.display());
    Ok(())
}

fn print_machine(facts: &Value) {
    let text = |name: &str| facts.get(name).map(|fact| fact.to_string().replace('"', "")).unwrap_or_default();
    println!(
        "Machine: {} cores of {}, Linux {}, clock source {}; etcd {} on loopback, data unsynced.",
        text("cores"),
        text("cpu"),
        text("kernel"),
        text("clocksource"),
        text("etcd")
    );
}

fn endpoint(etcd: &Etcd, member: usize) -> Result<String> {
    Ok(etcd.endpoints().get(member).ok_or("no such member")?.clone())
}

/// Each round measures every client once, each in its own process and on a fresh etcd: what one leaves behind to expire
/// does not disturb the next.
async fn renewals(sizes: &Sizes) -> Result<Vec<Value>> {
    let mut raw = Vec::new();
    let mut by_name: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let through_follower = format!("{}, through a follower", Layout::Ours.name());
    for round in 0..sizes.rounds {
        for layout in Layout::ALL {
            let etcd = Etcd::start(Version::LATEST).await?;
            let found = job(sizes, layout, endpoint(&etcd, 0)?).run()?;
            keep(&mut by_name, &mut raw, layout.name(), round, found);
        }
        let etcd = Etcd::start_cluster(Version::LATEST, 3).await?;
        let follower = usize::from(etcd.leader().await? == 0);
        let found = job(sizes, Layout::Ours, endpoint(&etcd, follower)?).run()?;
        keep(&mut by_name, &mut raw, &through_follower, round, found);
    }
    print_renewals(sizes, &by_name);
    Ok(raw)
}

fn job(sizes: &Sizes, layout: Layout, endpoint: String) -> Job {
    Job {
        layout,
        endpoint,
        count: sizes.count,
        window: sizes.window,
    }
}

fn keep(by_name: &mut BTreeMap<String, Vec<Value>>, raw: &mut Vec<Value>, name: &str, round: usize, found: Value) {
    eprintln!("round {round}, {name}: {found}");
    raw.push(json!({"section": "renewals", "client": name, "round": round, "found": found}));
    by_name.entry(name.to_owned()).or_default().push(found);
}

fn figures<'a>(found: &'a [Value], name: &'a str) -> impl Iterator<Item = f64> + 'a {
    found.iter().filter_map(move |one| one.get(name)?.as_f64())
}

fn print_renewals(sizes: &Sizes, by_name: &BTreeMap<String, Vec<Value>>) {
    println!("\n## {} leases, TTL 5 s, renewed every second by one client\n", sizes.count);
    println!(
        "{} interleaved round(s), {} s of steady state each; every client in its own process, on a fresh etcd. \
         Goal: ours within {GOAL_RENEWAL} × the bare stream.\n",
        sizes.rounds,
        sizes.window.as_secs()
    );
    let none = Vec::new();
    let bare = by_name.get(Layout::Bare.name()).unwrap_or(&none);
    let mut rows = Vec::new();
    let follower = format!("{}, through a follower", Layout::Ours.name());
    let names = Layout::ALL.map(Layout::name).into_iter().chain([follower.as_str()]);
    for name in names {
        let found = by_name.get(name).unwrap_or(&none);
        let cpu = "cpu_us_per_renewal";
        // Pairs of the same round: neighbours in time.
        let ratio = Spread::of(figures(found, cpu).zip(figures(bare, cpu)).map(|(one, bare)| one / bare));
        let verdict = match (name == Layout::Ours.name(), ratio.median <= GOAL_RENEWAL) {
            (false, _) => "",
            (true, true) => "met",
            (true, false) => "missed",
        };
        rows.push(vec![
            name.to_owned(),
            ratio.show(2),
            verdict.to_owned(),
            Spread::of(figures(found, cpu)).show(2),
            Spread::of(figures(found, "renewals_per_second")).show(0),
            Spread::of(figures(found, "allocations_per_renewal")).show(1),
        ]);
    }
    table(&["client", "÷ bare stream", "goal", "CPU, µs a renewal", "renewals/s", "allocations a renewal"], &rows);

    println!("\n## Memory of one leadership\n");
    println!("Of {} more, each with its own key and lease, kept and watched. Goal: {GOAL_MEMORY} bytes.\n", sizes.count);
    let found = by_name.get(Layout::Leaderships.name()).unwrap_or(&none);
    let heap = Spread::of(figures(found, "heap_bytes_each"));
    let rss = Spread::of(figures(found, "rss_bytes_each"));
    let verdict = |spread: &Spread| if spread.median <= GOAL_MEMORY { "met" } else { "missed" };
    table(
        &["measured as", "bytes", "goal"],
        &[
            vec!["allocated and not freed".to_owned(), heap.show(0), verdict(&heap).to_owned()],
            vec!["resident (RSS)".to_owned(), rss.show(0), verdict(&rss).to_owned()],
        ],
    );
    println!("\nAll {} campaigns together took {} s.", sizes.count, Spread::of(figures(found, "campaign_seconds")).show(1));
}
