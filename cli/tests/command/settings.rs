//! The TOML file, and what the command makes for shells, `man` and its user's own etcd: completions, pages, figures.
//! Owns those as a shell sees them; the units are tested where they are.

use std::fs;

use serde_json::Value;

use crate::support::{Server, command, run, text};

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leadership.toml");
    fs::write(&file, format!("endpoints = ['{}']\n[run]\nttl = '7s'\nvalue = 'of the file'\n", server.endpoint)).unwrap();
    let ended = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = command();
        command.args(["--config", file.to_str().unwrap()]).envs(variables.iter().copied());
        let ended = command.args(arguments).output().unwrap();
        (ended.status.code().unwrap(), text(&ended.stdout).to_owned())
    };
    let script = "echo $LEADERSHIP_TTL $LEADERSHIP_VALUE";
    assert_eq!(ended(&["run", "k", "--", "sh", "-c", script], &[]), (0, "7 of the file\n".to_owned()));
    assert_eq!(ended(&["run", "k", "--ttl", "4s", "--", "sh", "-c", script], &[]), (0, "4 of the file\n".to_owned()));
    assert_eq!(ended(&["status", "k"], &[]).0, 0, "another command's table is not this one's");
    let away = [("LEADERSHIP_ENDPOINTS", "127.0.0.1:1")];
    assert_eq!(ended(&["status", "k"], &away).0, 3, "the environment's endpoints");
    assert_eq!(ended(&["--endpoints", &server.endpoint, "status", "k"], &away).0, 0, "the flag's");

    fs::write(&file, "endpoint = 'x'").unwrap();
    let mut command = command();
    let named = command.env("LEADERSHIP_CONFIG", &file).args(["status", "k"]).output().unwrap();
    assert_eq!(named.status.code(), Some(2));
    assert!(text(&named.stderr).contains("leadership.toml: endpoint is neither"), "{named:?}");
}

#[test]
fn completions_and_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["man", folder.path().join("man1").to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let completions = run(&["completions", "bash"]);
    for name in ["run", "elect", "status", "bench", "demo"] {
        let page = fs::read_to_string(folder.path().join(format!("man1/leadership-{name}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{page}");
        assert!(text(&completions.stdout).contains(&format!("leadership__subcmd__{name}")) || text(&completions.stdout).contains(&format!("leadership,{name})")), "{name}");
    }
}

#[test]
fn the_figures_are_of_this_etcd_and_nothing_is_left_in_it() {
    let server = Server::start();
    let bench = server.run(&["bench", "--each", "200ms", "--leaders", "5", "--json"]);
    assert_eq!(bench.status.code(), Some(0), "{bench:?}");
    let figures: Vec<Value> = text(&bench.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(figures.iter().all(|figure| figure["value"].as_f64().unwrap() > 0.0), "{figures:?}");
    assert_eq!(server.keys("leadership-bench"), ["leadership-bench.resigned"], "one mark for all runs");
}
