//! A PostgreSQL of our own: Debian's program on a folder of the test's, reached
//! by a socket in it, started and stopped with the test. A test on a machine
//! that has none says so and is skipped.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use coordinator::store::{DatabaseSettings, DatabaseUrl, Password, SYSTEM_AUTHORITIES};
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::look_until;

/// A running server and its folder. Both go when this is dropped.
pub struct Cluster {
    folder: tempfile::TempDir,
    programs: PathBuf,
    server: Option<Child>,
    schemas: AtomicU32,
    port: String,
}

impl Cluster {
    /// Makes a cluster whose configuration has these lines too, and starts it.
    /// None where PostgreSQL is not installed, which is said.
    pub fn start(lines: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("SKIPPED: no PostgreSQL (apt-get install postgresql)");
            return None;
        };
        let port = lines.lines().find_map(|line| line.strip_prefix("port = "));
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        // Its own user has to reach what is in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut cluster = Self {
            folder,
            programs,
            server: None,
            schemas: AtomicU32::new(0),
            port: port.unwrap_or("5432").to_owned(),
        };
        let (data, socket) = (cluster.data(), cluster.socket());
        for path in [&data, &socket] {
            fs::create_dir(path).unwrap();
            if is_root() {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let made = cluster
            .program("initdb")
            .args([
                "--auth=trust",
                "--username=alambic",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let configuration = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&configuration).unwrap();
        text.push_str(&format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\n{lines}\n",
            socket.display()
        ));
        fs::write(&configuration, text).unwrap();
        cluster.resume();
        Some(cluster)
    }

    /// Starts the server again, on what it has left.
    pub fn resume(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let child = self
            .program("postgres")
            .arg("-D")
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(child);
        look_until(
            || self.ask("SELECT 1").is_ok(),
            || fs::read_to_string(self.log()).unwrap(),
        );
    }

    /// Ends the server and all its processes at once, as a loss of power would
    /// but for what the system still has in memory.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let children = children_of(server.id());
        kill_process(Pid::from_child(&server), Signal::KILL).unwrap();
        server.wait().unwrap();
        for child in children {
            // It may have noticed and gone.
            let _ = kill_process(child, Signal::KILL);
        }
        look_until(
            || !children_are_left(&self.data()),
            || "the server's processes do not end".to_owned(),
        );
    }

    /// Takes a base backup of the running server.
    pub fn back_up(&self) {
        let backup = self.backup();
        fs::create_dir(&backup).unwrap();
        if is_root() {
            chown(&backup, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let taken = self
            .program("pg_basebackup")
            .args(["--username=alambic", "--checkpoint=fast", "--no-sync"])
            .arg("--host")
            .arg(self.socket())
            .args(["--port", &self.port, "--pgdata"])
            .arg(&backup)
            .output()
            .unwrap();
        assert!(
            taken.status.success(),
            "{}",
            String::from_utf8_lossy(&taken.stderr)
        );
    }

    /// Puts the base backup in the place of the data, and starts a server on it.
    pub fn restore(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).unwrap();
        fs::rename(self.backup(), self.data()).unwrap();
        fs::set_permissions(self.data(), fs::Permissions::from_mode(0o700)).unwrap();
        self.resume();
    }

    /// Runs SQL as the cluster's owner and gives what it prints.
    ///
    /// # Errors
    /// What psql says.
    pub fn ask(&self, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .env("PGHOST", self.socket())
            .env("PGPORT", &self.port)
            .args([
                "--username=alambic",
                "--dbname=postgres",
                "--no-psqlrc",
                "-qAt",
            ])
            .args(["-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// The URL of an empty place for a store, which no other test uses.
    pub fn url(&self) -> String {
        let number = self.schemas.fetch_add(1, Ordering::Relaxed);
        let schema = format!("store{number}");
        self.ask(&format!("CREATE SCHEMA {schema}")).unwrap();
        self.url_of(&schema)
    }

    /// The URL of a schema.
    pub fn url_of(&self, schema: &str) -> String {
        let socket = self.socket();
        format!(
            "postgresql://alambic@/postgres?host={}&options=-csearch_path%3D{schema}",
            socket.display()
        )
    }

    /// The folder of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// One of its programs, run by a user who is not root: it refuses root.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // What it holds is not needed any more, so it need not end well.
            let _ = kill_process(Pid::from_child(&server), Signal::QUIT);
            let _ = server.wait();
        }
    }
}

/// How a coordinator's program reaches this URL.
pub fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings {
        url: DatabaseUrl::parse(url).unwrap(),
        password: Password::None,
        authorities: SYSTEM_AUTHORITIES.into(),
        lease_ms: None,
        advertised: None,
    }
}

/// The processes whose parent is this one.
fn children_of(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let child = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name, which may hold anything: state, then parent.
        let of = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (of.parse() == Ok(parent)).then(|| Pid::from_raw(pid))?
    };
    processes.filter_map(child).collect()
}

/// Whether a process still works in this folder, as all of a server do.
fn children_are_left(data: &Path) -> bool {
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.any(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder of the newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| version(path))?;
    Some(newest.join("bin"))
}

const NOBODY: u32 = 65_534;
