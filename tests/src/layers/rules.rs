//! What is allowed: who stands on whom, and what has one home.

/// A crate of the workspace.
pub(super) struct Crate {
    pub(super) folder: &'static str,
    /// Crates of the workspace that it may be built on.
    pub(super) builds_on: &'static [&'static str],
    /// Whether it may be built on libraries that do I/O.
    pub(super) does_io: bool,
    /// Its rooms, the lowest layer first. A room sees the layers below its
    /// own, not its neighbours.
    pub(super) layers: &'static [&'static [&'static str]],
}

pub(super) const CRATES: &[Crate] = &[
    Crate {
        folder: "common/math",
        builds_on: &[],
        does_io: false,
        layers: &[
            &["blas", "linalg", "liveness", "privacy", "random", "shape"],
            &["exact", "quantise"],
            &["cluster", "density", "kernel", "subspace"],
            &["optimiser", "regression"],
            &["network"],
            &["last_layer"],
        ],
    },
    Crate {
        folder: "common/protocol",
        builds_on: &["alambic-math"],
        does_io: false,
        layers: &[
            &["close", "host_port", "ids", "limits", "traffic"],
            &["codec", "human"],
            &["delta", "evaluation", "features", "round", "withheld"],
            &["task"],
            &[
                "blocks",
                "gradient",
                "labels",
                "landmarks",
                "moments",
                "feature_weights",
                "report",
                "scales",
                "sketch",
                "stage_trial",
                "summary",
                "weights",
            ],
            &["novelty"],
            &["model", "profile", "transfer"],
            &["contribution", "teacher", "trust"],
            &["wire"],
        ],
    },
    Crate {
        folder: "common/net",
        builds_on: &["alambic-protocol"],
        does_io: true,
        layers: &[
            &["alpn", "close", "rate", "reset", "silence", "tuning"],
            &["admission", "connection_limiter", "error"],
            &["stream", "verifier"],
            &["connection", "tls"],
            &["listener"],
            &["dialler", "relayed"],
            &["search"],
            &["enrolment"],
        ],
    },
    Crate {
        folder: "common/host",
        builds_on: &["alambic-math", "alambic-protocol"],
        does_io: true,
        layers: &[
            &[
                "blas_threads",
                "config",
                "health",
                "http",
                "log",
                "npz",
                "ownership",
                "path_text",
                "program_pages",
                "pipe",
                "service",
                "settings",
            ],
            &["exit"],
            &["reference", "signals"],
        ],
    },
    Crate {
        folder: "common/draw",
        builds_on: &[],
        does_io: false,
        layers: &[&["text"], &["chart", "picture"], &["heat", "look"]],
    },
    Crate {
        folder: "common/export",
        builds_on: &["alambic-host", "alambic-math", "alambic-protocol"],
        does_io: true,
        layers: &[
            &["error", "protobuf"],
            &["exported", "graph"],
            &["archive", "c"],
            &["onnx"],
            &["format"],
        ],
    },
    Crate {
        folder: "common/onnx",
        builds_on: &["alambic-math"],
        does_io: true,
        layers: &[
            &["answers", "error", "picture", "pool", "sound", "tiny"],
            &["class_map", "graph", "settings"],
            &["plans", "takes"],
            &["model"],
            &["data"],
            &["classifier", "extractor"],
        ],
    },
    Crate {
        folder: "common",
        builds_on: &[
            "alambic-export",
            "alambic-host",
            "alambic-math",
            "alambic-net",
            "alambic-protocol",
        ],
        does_io: true,
        layers: &[],
    },
    Crate {
        folder: "coordinator/engine",
        builds_on: &["alambic-protocol"],
        does_io: false,
        layers: &[
            &["registry", "rollout"],
            &["round"],
            &["entry", "status"],
            &["core"],
        ],
    },
    Crate {
        folder: "coordinator",
        builds_on: &["alambic-draw", "alambic-engine", "alambic-onnx", "common"],
        does_io: true,
        layers: &[
            &[
                "aggregate",
                "config_layers",
                "identity",
                "limits",
                "state_dir",
                "store",
                "student",
                "validation",
            ],
            &["backbone"],
            &["budget", "journal"],
            &["compute"],
            &["backup", "metrics"],
            &["server"],
            &["admin", "gateway", "page"],
            &["app", "config"],
            &["cli"],
        ],
    },
    Crate {
        folder: "edge-agent",
        builds_on: &["alambic-onnx", "common"],
        does_io: true,
        layers: &[
            &["cache", "data", "mqtt", "session", "state", "teacher"],
            &["identity", "machine", "outbox", "work"],
            &["ledger", "policy", "route", "slots", "trust"],
            &["backbone"],
            &["enrol"],
            &["anew", "renewal"],
            &["driver"],
            &["metrics", "predictions"],
            &["config"],
            &["cli"],
        ],
    },
    Crate {
        folder: "lab",
        builds_on: &[
            "alambic-draw",
            "alambic-onnx",
            "common",
            "coordinator",
            "edge-agent",
        ],
        does_io: true,
        layers: &[
            &[
                "data", "metrics", "outcome", "overhead", "privacy", "survive", "sweep",
            ],
            &["folders", "projection", "reached", "simulation", "stage"],
            &["plan", "progress", "report"],
            &["backbone", "baseline", "distill"],
            &["demo", "federated", "labelling", "points"],
            &["load", "simulate"],
            &["attack"],
            &["cli"],
        ],
    },
    Crate {
        folder: "tests",
        builds_on: &["alambic-onnx", "common", "coordinator", "edge-agent", "lab"],
        does_io: true,
        layers: &[
            &[
                "agent", "aging", "disk", "fixtures", "fuzz", "gateway", "golden", "layers",
                "netns", "redteam", "relay", "standby",
            ],
            &["rig"],
            &["database"],
        ],
    },
];

/// Libraries that wait, listen, store or ask the system.
pub(super) const IO_LIBRARIES: &[&str] = &[
    "hyper",
    "hyper-util",
    "quinn",
    "quinn-proto",
    "rustix",
    "rustls",
    "sled",
    "socket2",
    "tokio",
    "tokio-postgres",
    "tokio-rustls",
];

/// A library that only some files name.
pub(super) struct Home {
    pub(super) library: &'static str,
    /// The file, or the folder with a slash at its end.
    pub(super) file: &'static str,
    /// Names that are free everywhere: derives and the traits they implement.
    pub(super) free: &'static [&'static str],
}

pub(super) const HOMES: &[Home] = &[
    Home {
        library: "bincode",
        file: "common/protocol/src/codec.rs",
        free: &["Encode", "Decode"],
    },
    Home {
        library: "sled",
        file: "coordinator/src/store/sled_log.rs",
        free: &[],
    },
    Home {
        library: "tokio_postgres",
        file: "coordinator/src/store/postgres/",
        free: &[],
    },
    Home {
        library: "tokio_rustls",
        file: "coordinator/src/store/postgres/tls.rs",
        free: &[],
    },
    Home {
        library: "ndarray_linalg",
        file: "common/math/src/linalg.rs",
        free: &[],
    },
];

/// Where code that the compiler cannot check may stand, each with its proof.
pub(super) const UNSAFE_FILES: [&str; 3] = [
    "common/host/src/program_pages.rs",
    "common/math/src/blas.rs",
    "common/math/src/kernel/simd.rs",
];

/// How long the name of a function may be; that of a test is its claim, and has
/// to fit into a line of results.
pub(super) const FUNCTION_NAME_CHARS_MAX: usize = 60;

/// Sources that name no I/O of the standard library, and how they are called.
pub(super) struct Pure {
    pub(super) folder: &'static str,
    pub(super) what: &'static str,
    pub(super) forbidden: &'static [&'static [&'static str]],
}

pub(super) const PURE: &[Pure] = &[
    Pure {
        folder: "coordinator/engine/src/",
        what: "an engine",
        forbidden: ENGINE_FORBIDDEN,
    },
    Pure {
        folder: "edge-agent/src/session/",
        what: "an engine",
        forbidden: ENGINE_FORBIDDEN,
    },
    Pure {
        folder: "common/math/src/",
        what: "mathematics",
        forbidden: IO_FORBIDDEN,
    },
    Pure {
        folder: "common/protocol/src/",
        what: "the protocol",
        forbidden: IO_FORBIDDEN,
    },
];

/// What an engine may not name: a clock, randomness, a socket, a disk.
const ENGINE_FORBIDDEN: &[&[&str]] = &[
    &["tokio"],
    &["quinn"],
    &["rand"],
    &["std", "time"],
    &["std", "fs"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "UdpSocket"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["common", "transport"],
    &["common", "math", "random"],
    &["math", "random"],
];

const IO_FORBIDDEN: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "UdpSocket"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["std", "time", "Instant"],
];
