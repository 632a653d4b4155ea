//! The tour of the README, typed as it stands in an empty folder.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use lab::demo::program;
use tests::rig::look_until;

const README: &str = include_str!("../../README.md");

/// Exit codes that a person who types would wait out: the coordinator is not
/// there yet, or devices are not connected yet.
const NOT_YET: [i32; 2] = [3, 6];

#[test]
fn the_tour_works_as_typed() {
    let folder = tempfile::tempdir().unwrap();
    let port = { UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()) };
    let mut shell = Shell {
        folder: folder.path(),
        address: port.unwrap().to_string(),
        token: String::new(),
        background: Vec::new(),
    };
    let commands = commands(README);
    assert!(commands.len() >= 12, "only {} commands", commands.len());
    for command in &commands {
        shell.type_in(command);
    }
    let left = shell.run("alambic-agent sent list --state ./agent-0");
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    for kind in ["profile", "summary", "report"] {
        assert!(left.contains(kind), "{left}");
    }
}

#[test]
fn commands_are_found_in_marked_blocks_only() {
    let text = "<!-- tour -->\n```sh\none &    # why\ncat > f <<'END_OF_TASK'\na\nEND_OF_TASK\n\
        two\n```\n```sh\nthree\n```\n";
    let found = commands(text);
    let wanted = ["one &", "cat > f <<'END_OF_TASK'\na\nEND_OF_TASK", "two"];
    assert_eq!(found, wanted);
}

/// The commands of the blocks that follow the mark, without their comments.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("<!-- tour -->\n```sh\n").skip(1);
    let mut commands = Vec::new();
    for block in blocks {
        let mut lines = block.lines().take_while(|line| !line.starts_with("```"));
        while let Some(line) = lines.next() {
            let mut command = line.split("    #").next().unwrap().trim().to_owned();
            if let Some((_, end)) = line.split_once("<<") {
                let end = end.trim_matches('\'');
                for line in lines.by_ref() {
                    command += &format!("\n{line}");
                    if line == end {
                        break;
                    }
                }
            }
            commands.push(command);
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

struct Shell<'a> {
    folder: &'a Path,
    address: String,
    token: String,
    background: Vec<Child>,
}

impl Shell<'_> {
    fn type_in(&mut self, command: &str) {
        if command.starts_with("TOKEN=") {
            assert!(!self.token.is_empty(), "no token was printed before");
        } else if let Some(command) = command.strip_suffix('&') {
            let child = self.command(&format!("exec {command}"));
            self.background.push({ child }.spawn().unwrap());
        } else {
            let output = self.run(command);
            let said = String::from_utf8_lossy(&output.stdout);
            let token = said
                .split_whitespace()
                .find(|word| word.starts_with("alambic1."));
            self.token = token.map_or(std::mem::take(&mut self.token), str::to_owned);
        }
    }

    /// Runs a command to its end, again where it comes too early.
    fn run(&self, command: &str) -> Output {
        let mut last = None;
        look_until(
            || {
                let output = self.command(command).output().unwrap();
                let code = output.status.code();
                last = Some(output);
                !code.is_some_and(|code| NOT_YET.contains(&code))
            },
            || format!("{command}: still too early"),
        );
        let output = last.unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {complaint}");
        output
    }

    /// The command as a shell runs it, with ports of its own and the programs
    /// of this build in the path.
    fn command(&self, command: &str) -> Command {
        let programs = program("alambic-agent").unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", programs.parent().unwrap().display());
        let mut bash = Command::new("bash");
        bash.arg("-c")
            .arg(command.replace("127.0.0.1:4433", &self.address))
            .current_dir(self.folder)
            .env("PATH", path)
            .env("TOKEN", &self.token)
            .env("ALAMBIC_LISTEN", &self.address)
            .env("ALAMBIC_PAGE", "off")
            .env("OPENBLAS_NUM_THREADS", "1")
            .env_remove("ALAMBIC_STATE")
            .env_remove("ALAMBIC_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if command.starts_with("exec ") {
            let log = fs::File::options()
                .create(true)
                .append(true)
                .open(self.folder.join("background.log"));
            bash.stdout(Stdio::null()).stderr(log.unwrap());
        }
        bash
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("background.log"));
            eprintln!("{}", log.unwrap_or_default());
        }
    }
}
