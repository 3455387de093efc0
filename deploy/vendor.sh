#!/bin/sh
# Fetch the front-end files that are committed under static/vendor, by exact version and digest.
#
# Run by hand when a version changes; neither the build nor a running server needs it.
# Only the files used are kept, each with its licence, and `sourceMappingURL` comments are
# stripped, because the static files manifest would look for the maps.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out="$root/static/vendor"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

icons="activity alert-circle alert-triangle arrow-left arrow-right ban bell bolt box building calculator
chart-area-line chart-bar check chevron-down chevron-right circle-check clock coins copy cpu
database download external-link eye file-text filter gauge git-branch history info-circle key
keyboard layout-dashboard list-check lock lock-open logout mail menu-2 moon pencil player-stop plus
receipt refresh rocket scale search selector server settings shield-check stack-2 sun terminal-2
trash upload user user-plus users wallet world x"

fetch() { # package version sha256
    file=$(cd "$work" && npm pack --silent "$1@$2")
    echo "$3  $work/$file" | sha256sum --check --quiet -
    mkdir -p "$work/x" && rm -rf "$work/x/package"
    tar -xzf "$work/$file" -C "$work/x"
}

keep() { # path in the package, name under static/vendor
    mkdir -p "$(dirname "$out/$2")"
    sed -e 's|^//# sourceMappingURL=.*$||' -e 's|/\*# sourceMappingURL=[^*]*\*/||' "$work/x/package/$1" >"$out/$2"
}

fetch @tabler/core 1.6.1 d02d679e51f6c179b21f035e154c13cdcb2ae8b18579e56ea606408ba7fc7a87
keep dist/css/tabler.min.css tabler/tabler.min.css
keep dist/js/tabler.min.js tabler/tabler.min.js

fetch htmx.org 4.0.1 5fba65616ca148a86d377e9771bcada7f35faee3558651feb929eea425e13b3c
keep dist/htmx.min.js htmx/htmx.min.js
keep LICENSE htmx/LICENSE

fetch @tabler/icons 3.51.0 b30108713d3fa60aee862c2a133225da8e0f309be0708fe2925763ff810c766c
keep LICENSE tabler-icons/LICENSE
for name in $icons; do keep "icons/outline/$name.svg" "tabler-icons/$name.svg"; done

fetch @fontsource-variable/inter 5.3.0 d26710dd38e7217484a1d47ee76c024977ec550548876f26d06ed1844af09a14
keep LICENSE inter/LICENSE
for set in latin latin-ext; do
    cp "$work/x/package/files/inter-$set-wght-normal.woff2" "$out/inter/inter-$set.woff2"
done

echo "static/vendor is up to date"
