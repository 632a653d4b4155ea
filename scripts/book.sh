#!/usr/bin/env bash
# Makes a book of the documents. They lie in the root and in docs/ and link to
# one another as files, so the book's source is a copy of that layout, with
# docs/SUMMARY.md as its contents.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v mdbook >/dev/null; then
    echo "docs: SKIPPED, mdbook is not installed (cargo install mdbook --locked --no-default-features)"
    exit 0
fi

source=target/book/src
rm -rf "$source"
mkdir -p "$source/lab/data"
cp ./*.md LICENSE "$source"
cp -r docs configs deploy examples "$source"
cp lab/data/SOURCES.md "$source/lab/data"
sed -e 's#](\([^.)]\)#](docs/\1#' -e 's#](\.\./#](#' docs/SUMMARY.md >"$source/SUMMARY.md"
rm "$source/docs/SUMMARY.md"
mdbook build
echo "docs: target/book/html/index.html"
