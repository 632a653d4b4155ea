//! Students in C.

use std::path::Path;
use std::process::{Command, Stdio};

use export::{Format, export};
use ndarray::Array2;

use super::students::{self, Case, all};

/// Says what the student of `student.h` says of every row of standard input.
const MAIN: &str = r#"#include <stdio.h>
#include "student.h"
#ifdef STUDENT_NUMBERS
#define ANSWERS STUDENT_NUMBERS
#define FIRST student_numbers
#else
#define ANSWERS STUDENT_CLASSES
#define FIRST student_classes
#endif

int main(void)
{
    static float input[STUDENT_INPUTS], said[ANSWERS], scratch[STUDENT_SCRATCH + 1];
    scratch[STUDENT_SCRATCH] = 42.0f;
    while (fread(input, sizeof input, 1, stdin) == 1) {
#ifdef STUDENT_NUMBERS
        student_predict(input, said, scratch);
#else
        int i, class_number = student_predict(input, said, scratch);
        for (i = 0; i < STUDENT_CLASSES; i++) {
            if (said[i] > said[class_number]) {
                return 3;
            }
        }
#endif
        fwrite(said, sizeof said, 1, stdout);
    }
    {
        /* One value of the input is NaN. */
        const volatile float zero = 0.0f;
        int i, answer = 0, unknown = 0;
        for (i = 0; i < STUDENT_INPUTS; i++) {
            input[i] = 1.0f;
        }
        input[STUDENT_INPUTS / 2] = zero / zero;
#ifdef STUDENT_NUMBERS
        student_predict(input, said, scratch);
        answer = -1;
#else
        answer = student_predict(input, said, scratch);
#endif
        for (i = 0; i < ANSWERS; i++) {
            unknown += said[i] != said[i];
        }
#ifdef FILLS_GAPS
        (void)answer;
        if (unknown) {
            return 5;
        }
#else
        if (unknown != ANSWERS || answer != -1) {
            return 6;
        }
#endif
    }
    return scratch[STUDENT_SCRATCH] == 42.0f && FIRST[0][0] == 'a' ? 0 : 4;
}
"#;

/// What goes with C99 in a compiler's pedantry.
const STRICT: [&str; 7] = [
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-O2",
    "-ffreestanding",
];

fn compile(arguments: &[&str], folder: &Path) {
    let output = Command::new("gcc")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gcc {arguments:?}: {said}");
}

/// Probabilities of every row, with these options of the compiler.
fn said(case: &Case, folder: &Path, options: &[&str]) -> Array2<f32> {
    let object: Vec<&str> = STRICT.iter().chain(options).copied().collect();
    compile(
        &[&object[..], &["-c", "student.c", "-o", "student.o"]].concat(),
        folder,
    );
    let undefined = Command::new("nm")
        .args(["-u", "student.o"])
        .current_dir(folder)
        .output();
    let undefined = String::from_utf8(undefined.unwrap().stdout).unwrap();
    assert_eq!(
        undefined.trim(),
        "",
        "{} needs something of a library",
        case.name
    );
    let gaps: &[&str] = match case.release.task().input().fills_gaps() {
        true => &["-DFILLS_GAPS"],
        false => &[],
    };
    compile(
        &[options, gaps, &["main.c", "student.o", "-o", "main"]].concat(),
        folder,
    );
    let rows = folder.join("rows");
    let bytes: Vec<u8> = case
        .rows
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    std::fs::write(&rows, bytes).unwrap();
    let mut main = Command::new(folder.join("main"));
    let main = main
        .stdin(std::fs::File::open(rows).unwrap())
        .stderr(Stdio::inherit());
    let output = main.output().unwrap();
    assert!(output.status.success(), "{}: {}", case.name, output.status);
    let values = { output.stdout.chunks_exact(4) }
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let answers = case.release.task().outputs();
    Array2::from_shape_vec((case.rows.nrows(), answers), values).unwrap()
}

fn classes(said: &Array2<f32>) -> Vec<usize> {
    let largest = |row: ndarray::ArrayView1<'_, f32>| {
        (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
    };
    said.rows().into_iter().map(largest).collect()
}

#[test]
fn c_says_what_a_device_says_for_each_stage_and_student() {
    if Command::new("gcc").arg("--version").output().is_err() {
        println!("SKIPPED: there is no gcc");
        return;
    }
    for case in all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.c");
        let exported = export(&case.release, Format::C, &path).unwrap();
        exported.write(&path, false).unwrap();
        std::fs::write(folder.path().join("main.c"), MAIN).unwrap();
        let expected = students::said(&case);
        // Of numbers, errors are held against the largest.
        let largest = expected
            .iter()
            .fold(1f32, |most, value| most.max(value.abs()));
        let truth = classes(&expected);
        let compare = |said: &Array2<f32>| {
            let apart = (said - &expected)
                .iter()
                .fold(0f32, |most, gap| most.max(gap.abs()));
            let same = classes(said)
                .iter()
                .zip(&truth)
                .filter(|(one, other)| one == other)
                .count();
            (apart, same)
        };
        let (apart, same) = compare(&said(&case, folder.path(), &[]));
        let coded = said(&case, folder.path(), &["-DSTUDENT_INT8"]);
        let (coded_apart, coded_same) = compare(&coded);
        println!(
            "{}: {apart:.1e} apart, {same} of {} the same class; int8 {coded_apart:.1e}, {coded_same}; {}",
            case.name,
            truth.len(),
            exported.note.unwrap_or_default()
        );
        assert!(
            apart <= 1e-4 * largest && same == truth.len(),
            "{}",
            case.name
        );
        // Random networks stand closer to their borders than trained ones.
        assert!(coded_same * 100 >= truth.len() * 97, "{}", case.name);
    }
}
