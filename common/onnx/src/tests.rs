//! Whole models, small ones written here and real ones where they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::tiny::Tiny;
use crate::{
    Classifier, Data, Extractor, Graph, Input, Kind, MODEL_BYTES_MAX, Model, ModelBytes, OnnxError,
    Picture, Settings,
};

fn model(bytes: &[u8], settings: &str) -> Result<Model, OnnxError> {
    let settings = Settings::parse(settings, "test").unwrap();
    Model::of(Graph::parse("tiny.onnx", bytes)?, None, settings)
}

/// The mean of each channel over space, twice.
fn means(sides: &[Option<usize>]) -> Vec<u8> {
    let graph = Tiny::of(sides)
        .constant("two", &[1], &[2.0])
        .node("Mul", &["x", "two"], "twice")
        .node("GlobalAveragePool", &["twice"], "mean");
    graph.bytes(&["mean", "twice"])
}

fn red(height: usize, width: usize) -> Picture {
    let pixels = (0..height * width).flat_map(|_| [255.0, 0.0, 127.0]);
    Picture::new([height, width, 3], pixels.collect()).unwrap()
}

#[test]
fn pictures_of_any_size_come_as_the_graph_wants_them() {
    for sides in [
        [None, Some(3), Some(8), Some(6)],
        [Some(1), Some(3), None, None],
        [Some(4), Some(3), Some(8), Some(6)],
    ] {
        let mut model = model(&means(&sides), "size = [8, 6]").unwrap();
        assert_eq!(model.kind(), Kind::Image);
        for picture in [red(8, 6), red(3, 3), red(50, 20)] {
            let row = model.row(Input::Picture(&picture)).unwrap();
            assert_eq!(row.len(), 3, "{sides:?}");
            let expected = [2.0, -254.0 / 128.0, 0.0];
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{row:?}");
            }
        }
    }
}

#[test]
fn scale_order_and_output_are_as_asked() {
    let bytes = means(&[None, Some(3), None, None]);
    let settings = "size = 4\nmean = [0.0, 0.0, 127.0]\nstd = 255\ncolour = \"bgr\"\n\
                    output = [\"twice\", \"mean\"]";
    let mut blue_first = model(&bytes, settings).unwrap();
    let row = blue_first.row(Input::Picture(&red(4, 4))).unwrap();
    let once = [2.0 * 127.0 / 255.0, 0.0, 2.0 * 128.0 / 255.0];
    assert_eq!(row.len(), 6);
    for (at, found) in row.iter().enumerate() {
        assert!((found - once[at % 3]).abs() < 1e-4, "{row:?}");
    }
    assert_ne!(blue_first.key(), model(&bytes, "size = 4").unwrap().key());
    let missing = model(&bytes, "size = 4\noutput = \"middle\"");
    let missing = missing
        .unwrap()
        .row(Input::Picture(&red(4, 4)))
        .unwrap_err();
    assert!(matches!(missing, OnnxError::Output { .. }), "{missing}");
    assert!(missing.to_string().contains("mean, twice"), "{missing}");
}

#[test]
fn channels_may_be_last_and_one() {
    let grey = Tiny::of(&[None, Some(5), Some(5), Some(1)])
        .node("ReduceMean", &["x"], "mean")
        .with("axes", &[1, 2, 3]);
    let mut grey = model(&grey.bytes(&["mean"]), "").unwrap();
    let row = grey.row(Input::Picture(&red(5, 5))).unwrap();
    let luma = (0.299 * 255.0 + 0.114 * 127.0) / 255.0;
    assert!((row[0] - luma).abs() < 1e-4, "{row:?}");
    assert!(
        grey.conventions()
            .contains("grey pictures of 5 × 5, channels last")
    );
}

#[test]
fn a_class_number_before_the_probabilities_is_passed_over() {
    let graph = Tiny::of(&[None, Some(3)])
        .node("Softmax", &["x"], "shares")
        .node("ArgMax", &["x"], "label")
        .number("label");
    let bytes = graph.bytes(&["shares"]);
    let mut found = model(&bytes, "").unwrap();
    let row = found.row(Input::Values(&[0.0, 2.0, 0.0])).unwrap();
    assert_eq!(row.len(), 3, "{row:?}");
    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
}

#[test]
fn a_row_without_an_answer_costs_no_other() {
    // Below nought there is no logarithm, and of nought it is below every number.
    let graph = Tiny::of(&[None, Some(2)]).node("Log", &["x"], "logs");
    let bytes = graph.bytes(&["logs"]);
    let data = Data {
        sides: vec![2],
        scale: 1.0,
        rate: None,
    };
    let names: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
    let of = model(&bytes, "").unwrap();
    let mut classifier = Classifier::of(of, data, &BTreeMap::new(), &names).unwrap();
    let rows = [[0.9, 0.1], [-1.0, 0.5], [0.0, 1.0], [f32::INFINITY, 0.5]];
    let outputs: Vec<_> = { rows.iter() }
        .map(|row| classifier.outputs(row).unwrap())
        .collect();
    let said = classifier.said(&outputs);
    let classes: Vec<Option<u16>> = said
        .into_iter()
        .map(|said| said.map(|(class, _)| class))
        .collect();
    assert_eq!(classes, [Some(0), None, Some(1), None]);
}

#[test]
fn an_operator_that_is_missing_is_named_with_its_node() {
    let strange = Tiny::of(&[None, Some(3)])
        .node("Relu", &["x"], "positive")
        .node("Teleport", &["positive"], "elsewhere");
    let error = model(&strange.bytes(&["elsewhere"]), "").unwrap_err();
    assert!(matches!(error, OnnxError::Operators { .. }));
    let text = error.to_string();
    assert!(text.contains("Teleport (node elsewhere)"), "{text}");
    assert!(!text.contains("Relu"), "{text}");
}

#[test]
fn what_is_no_model_and_what_is_too_large_are_refused() {
    for bytes in [&b""[..], b"not a model at all", &[0xff; 64]] {
        assert!(Graph::parse("x.onnx", bytes).is_err());
    }
    let whole = means(&[None, Some(3), None, None]);
    for length in 0..whole.len() {
        // Never a panic, whatever is missing.
        if let Ok(graph) = Graph::parse("x.onnx", &whole[..length]) {
            let _ = graph.plan(&[1, 3, 4, 4], &[]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, &whole).unwrap();
    assert!(Graph::open(&path, whole.len() as u64).is_ok());
    let large = Graph::open(&path, whole.len() as u64 - 1).unwrap_err();
    assert!(matches!(large, OnnxError::TooLarge { .. }), "{large}");
    let absent = Graph::open(Path::new("nowhere.onnx"), 1).unwrap_err();
    assert!(matches!(absent, OnnxError::Read { .. }), "{absent}");
}

#[test]
fn what_does_not_fit_is_said() {
    let bytes = means(&[None, Some(3), Some(8), Some(6)]);
    let mut pictures = model(&bytes, "").unwrap();
    let error = pictures
        .row(Input::Values(&[1.0; 4]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("takes pictures, and the data is rows of values"),
        "{error}"
    );
    let five = model(&means(&[None, Some(5), Some(8), Some(6)]), "");
    assert!(five.unwrap_err().to_string().contains("5 channels"));
    let list = Tiny::of(&[None, Some(3)])
        .node("Relu", &["x"], "y")
        .bytes(&["y"]);
    let mut list = model(&list, "").unwrap();
    assert_eq!(
        list.row(Input::Values(&[1.0, -1.0, 2.0])).unwrap(),
        [1.0, 0.0, 2.0]
    );
    let error = list.row(Input::Values(&[1.0; 4])).unwrap_err().to_string();
    assert!(error.contains("takes 3 values, and a row has 4"), "{error}");
}

#[test]
fn sound_goes_through_windows() {
    let whole = Tiny::of(&[None, Some(400)])
        .node("ReduceMax", &["x"], "most")
        .with("axes", &[1]);
    let mut model = model(&whole.bytes(&["most"]), "kind = \"sound\"\nrate = 1000").unwrap();
    let mut samples = vec![0.25f32; 1_000];
    samples[700..800].fill(1.0);
    let row = model.row(Input::Sound(&samples, 1_000)).unwrap();
    // Windows begin at 0, 200, 400, 600: two of four hold the loud part.
    assert!(
        (row[0] - (0.25 + 0.25 + 1.0 + 1.0) / 4.0).abs() < 1e-5,
        "{row:?}"
    );
    let short = model.row(Input::Sound(&[0.5; 50], 1_000)).unwrap();
    assert_eq!(short, [0.5]);
}

fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(file);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn a_backbone_takes_other_sizes_than_it_was_trained_on() {
    let Some(path) = shared("models/efficientnet-lite0.onnx") else {
        return;
    };
    for (option, width) in [("@96", 1_280), ("@64,output=features+mid", 1_392)] {
        let (path, settings) = Settings::of_option(&format!("{}{option}", path.display())).unwrap();
        let mut model = Model::open(&path, settings, MODEL_BYTES_MAX).unwrap();
        let row = model.row(Input::Picture(&red(32, 32))).unwrap();
        assert_eq!(row.len(), width);
        assert!(row.iter().any(|value| *value > 0.1));
    }
}

#[test]
fn a_speech_embedding_hears_through_its_mel_front() {
    let Some(path) = shared("models/embedding_model.onnx") else {
        return;
    };
    let option = format!(
        "{}@kind=sound,front={},front_mean=-20,front_std=10,pool=both",
        path.display(),
        path.with_file_name("melspectrogram.onnx").display()
    );
    let (path, settings) = Settings::of_option(&option).unwrap();
    let mut model = Model::open(&path, settings, MODEL_BYTES_MAX).unwrap();
    for samples in [800usize, 4_000, 16_000] {
        let tone: Vec<f32> = (0..samples).map(|at| (at as f32 * 0.3).sin()).collect();
        let row = model.row(Input::Sound(&tone, 8_000)).unwrap();
        assert_eq!(row.len(), 192, "{samples}");
    }
}

#[test]
fn an_extractor_makes_rows_of_a_tasks_inputs() {
    let doubled = Tiny::of(&[None, Some(6)])
        .constant("two", &[1], &[2.0])
        .node("Mul", &["x", "two"], "y")
        .bytes(&["y"]);
    let data = |sides: &[usize]| Data {
        sides: sides.to_vec(),
        scale: 10.0,
        rate: None,
    };
    let file = |bytes: &[u8]| ModelBytes {
        name: "tiny.onnx".to_owned(),
        bytes: bytes.to_vec(),
    };
    let mut extractor =
        Extractor::read(file(&doubled), None, "mean = 1.0\n", data(&[2, 3])).unwrap();
    assert_eq!(extractor.width(), 6);
    let row = extractor.row(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).unwrap();
    for (at, value) in row.iter().enumerate() {
        assert!((value - 2.0 * at as f32).abs() < 1e-5, "{row:?}");
    }
    let error = Extractor::read(file(&doubled), None, "", data(&[7])).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("takes 6 values, and a row has 7"), "{told}");
    let cut = Extractor::read(file(&doubled[..20]), None, "", data(&[6])).unwrap_err();
    assert!(matches!(cut, OnnxError::NotOnnx { .. }), "{cut}");
    let key = Extractor::read(file(&doubled), None, "colour = 3", data(&[6])).unwrap_err();
    assert!(key.to_string().contains("[features]"), "{key}");
}
