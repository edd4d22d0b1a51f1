//! The TOML file: what need not be typed each time. A flag goes before the environment, that before the file.
//! Owns reading it and turning a command's table into its flags; what the flags mean, `args` says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use leadership_core::Settings;
use toml::{Table, Value};

use crate::args::Args;
use crate::failure::Failure;

/// Where the file is, if `--config` does not say.
const VARIABLE: &str = "LEADERSHIP_CONFIG";
/// What may stand at the top of the file, beside a table for each command.
const CONNECTION: [&str; 6] = ["endpoints", "user", "password", "cacert", "cert", "key"];

/// What was typed, completed from the file.
pub(crate) struct Configured {
    pub(crate) args: Args,
    /// What the arguments are with the file's among them, for who starts this program again.
    pub(crate) typed: Vec<OsString>,
}

/// Parses what was typed. A usage error ends here, with 2.
pub(crate) fn parse() -> Result<Configured, Failure> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let matches = Args::command().get_matches_from(&typed);
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let named = args.global.config.clone().or_else(|| std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let Some(path) = named else { return Ok(Configured { args, typed }) };
    let file = read(&path)?;
    let (command, given) = matches.subcommand().unwrap_or(("", &matches));
    let added = flags(&path, &file, command, given)?;
    let typed = insert(typed, added);
    let mut args = Args::parse_from(&typed);
    args.global.file = Some(connection(&path, &file)?);
    Ok(Configured { args, typed })
}

fn read(path: &Path) -> Result<Table, Failure> {
    let no = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| no(error.to_string()))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| no(error.to_string()))?;
    let commands: Vec<String> = Args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for (name, value) in &table {
        let known = match value {
            Value::Table(_) => commands.contains(name),
            _ => CONNECTION.contains(&name.as_str()),
        };
        if !known {
            return Err(no(format!(
                "{name} is neither a setting of the connection ({}) nor a table for a command",
                CONNECTION.join(", ")
            )));
        }
    }
    Ok(table)
}

/// The connection's settings.
fn connection(path: &Path, file: &Table) -> Result<Settings, Failure> {
    let no = |name: &str, what: &str| Failure::Usage(format!("{}: {name} is not {what}", path.display()));
    let text = |name: &str| match file.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(no(name, "a string")),
    };
    let endpoints = match file.get("endpoints") {
        None => Vec::new(),
        Some(Value::String(one)) => one.split(',').map(str::to_owned).collect(),
        Some(Value::Array(all)) => {
            let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| no("endpoints", "an array of strings"))?
        }
        Some(_) => return Err(no("endpoints", "an array of strings")),
    };
    Ok(Settings {
        endpoints,
        user: text("user")?,
        password: text("password")?,
        ca: text("cacert")?,
        cert: text("cert")?,
        key: text("key")?,
    })
}

/// The flags of a command's table that were not typed.
fn flags(path: &Path, file: &Table, command: &str, given: &ArgMatches) -> Result<Vec<OsString>, Failure> {
    let Some(Value::Table(table)) = file.get(command) else { return Ok(Vec::new()) };
    let all = Args::command();
    let Some(described) = all.find_subcommand(command) else { return Ok(Vec::new()) };
    let mut added = Vec::new();
    for (name, value) in table {
        let no = |why: &str| Failure::Usage(format!("{}: {command}.{name} {why}", path.display()));
        let Some(flag) = described.get_arguments().find(|arg| arg.get_long() == Some(name.as_str())) else {
            return Err(no("is no option of this command"));
        };
        if given.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        let takes_value = flag.get_action().takes_values();
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = match value {
                Value::Boolean(true) if !takes_value => {
                    added.push(format!("--{name}").into());
                    continue;
                }
                Value::Boolean(false) if !takes_value => continue,
                Value::String(text) if takes_value => text.clone(),
                Value::Integer(number) if takes_value => number.to_string(),
                _ if takes_value => return Err(no("is neither a string nor a number")),
                _ => return Err(no("is neither true nor false")),
            };
            added.push(format!("--{name}={text}").into());
        }
    }
    Ok(added)
}

/// The file's flags before a `--`, behind which everything is somebody else's.
fn insert(mut typed: Vec<OsString>, added: Vec<OsString>) -> Vec<OsString> {
    let at = typed.iter().position(|word| word == "--").unwrap_or(typed.len());
    typed.splice(at..at, added);
    typed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test's way to fail
mod tests {
    use super::*;

    fn added(file: &str, typed: &[&str]) -> Result<Vec<OsString>, String> {
        let matches = Args::command().get_matches_from(typed);
        let (command, given) = matches.subcommand().unwrap();
        let file: Table = file.parse().unwrap();
        flags(Path::new("f.toml"), &file, command, given).map_err(|failure| failure.message().unwrap())
    }

    #[test]
    fn a_table_gives_the_flags_that_were_not_typed() {
        let file = "[run]\nttl = '3s'\ngrace = '1s'\nwait = true\nexit-code = ['lost=75', 'timeout=0']\n[elect]\nonce = true";
        let words = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        let typed = ["leadership", "run", "k", "--ttl", "9s", "--", "x"];
        let expected = words(&["--exit-code=lost=75", "--exit-code=timeout=0", "--grace=1s", "--wait"]);
        assert_eq!(added(file, &typed), Ok(expected.clone()));
        let all = insert(words(&typed), expected);
        assert_eq!(all.last().unwrap(), "x");
        assert!(Args::command().try_get_matches_from(all).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (file, words) in [
            ("[run]\nttl = true", "f.toml: run.ttl is neither a string nor a number"),
            ("[run]\ntlt = '5s'", "f.toml: run.tlt is no option of this command"),
            ("[run]\nwait = 'yes'", "f.toml: run.wait is neither true nor false"),
        ] {
            let failure = added(file, &["leadership", "run", "k", "--", "x"]).unwrap_err();
            assert!(failure.contains(words), "{failure}");
        }
    }

    #[test]
    fn the_connection_is_read_from_the_top() {
        let file: Table = "endpoints = ['a:1', 'b:2']\nuser = 'u'\ncacert = '/ca'".parse().unwrap();
        let settings = connection(Path::new("f"), &file).unwrap();
        assert_eq!((settings.endpoints.join(","), settings.user.as_deref(), settings.ca.as_deref()), ("a:1,b:2".into(), Some("u"), Some("/ca")));
        let wrong: Table = "user = 7".parse().unwrap();
        assert!(connection(Path::new("f"), &wrong).is_err());
    }
}
