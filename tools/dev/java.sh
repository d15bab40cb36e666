#!/usr/bin/env bash
# java.sh [line…]: build the Java examples and make images of them for the dev
# cluster: bin/java/dubbo-LINE/APP.tar. A line is a version of Dubbo, 3.3 or 3.2; all
# are built without one. What is up to date is left alone.
#
# An image is a Java runtime of the machine's own JDK (by jlink), the libraries
# of an application, and its jar, each in a layer of its own. Elsewhere than in
# the dev cluster, examples/java/dubbo/Dockerfile makes them of a stock image.
set -euo pipefail
cd "$(dirname "$0")/../.."
lines=("$@")
((${#lines[@]})) || lines=(3.3 3.2)
out=bin/java
project=examples/java/dubbo
log=$(mktemp)
trap 'rm -f "$log"' EXIT
mkdir -p "$out"

fail() { printf 'java: %s\n' "$*" >&2; exit 1; }

# What the applications and their libraries use of the JDK, headless.
modules=java.base,java.desktop,java.instrument,java.logging,java.management,java.naming,java.net.http,java.security.jgss,java.sql,java.xml,jdk.crypto.ec,jdk.httpserver,jdk.jfr,jdk.management,jdk.naming.dns,jdk.unsupported,jdk.zipfs

runtime() { # $out/jre: /opt/java, and the C library's files beside it
  local want lib
  want="$(java -XshowSettings:none -version 2>&1 | head -n 3) $modules"
  if [[ -e $out/jre.made && $(<"$out/jre.made") == "$want" ]]; then return; fi
  echo "making a Java runtime"
  rm -rf "$out/jre" "$out/jre.made"
  mkdir -p "$out/jre/opt"
  jlink --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --output "$out/jre/opt/java" >"$log" 2>&1 ||
    { cat "$log" >&2; fail "jlink failed (see above): is this a whole JDK, with its jmods?"; }
  # An archive of the runtime's own classes, which jlink leaves out, halves the start.
  "$out/jre/opt/java/bin/java" -Xshare:dump -XX:+UseSerialGC >"$log" 2>&1 || { cat "$log" >&2; fail "java -Xshare:dump failed (see above)"; }
  # Only what a program without a display loads.
  while read -r lib; do
    install -D "$lib" "$out/jre$lib"
  done < <(find "$out/jre/opt/java" \( -name 'java' -o -name '*.so' ! -name 'libawt_xawt.so' ! -name 'libsplashscreen.so' ! -name 'libfontmanager.so' ! -name 'libjsound.so' \) -type f -exec ldd {} + |
    awk '$3 ~ /^\// {print $3} $1 ~ /^\/.*ld-linux/ {print $1}' | grep -v "^$PWD" | sort -u)
  echo "$want" >"$out/jre.made"
}

# Tell what Maven fetches while it does: the first time that takes minutes.
progress() {
  awk -v every=10 'BEGIN {last = systime()}
    /^Downloaded from/ {n++; if (systime() - last >= every) {last = systime(); printf "  %d files of Maven Central so far\n", n; fflush()}}'
}

applications() { # applications 3.3: $out/dubbo-3.3/{lib,APP}
  local line=$1 dir=$out/dubbo-$1 profile=() app
  [[ $line == 3.3 ]] || profile=("-Pdubbo-$line")
  if [[ -e $dir.made && -z $(find "$project" -newer "$dir.made" -type f ! -path '*/target/*' -print -quit) ]]; then return; fi
  echo "building the Java applications with Dubbo $line"
  rm -rf "$project"/*/target/"$line"
  # Without the network if that goes: all is there from the second time on.
  if ! mvn -q -B -o "${profile[@]}" -f "$project/pom.xml" package >"$log" 2>&1; then
    mvn -B "${profile[@]}" -f "$project/pom.xml" package 2>&1 | tee "$log" | progress ||
      { grep -v '^Download\|^Progress' "$log" | tail -n 30 >&2; fail "Maven failed (see above): is Maven Central there, or a mirror in ~/.m2/settings.xml?"; }
  fi
  rm -rf "$dir" "$dir.made"
  mkdir -p "$dir/lib/app/lib"
  for app in catalogue restock; do
    install -D -m 644 "$project/$app/target/$line/$app.jar" "$dir/$app/app/app.jar"
    cp -n "$project/$app/target/$line"/lib/*.jar "$dir/lib/app/lib/"
  done
  touch "$dir.made"
}

# Stopped by SIGTERM as process 1, small, and quick to start rather than at its peak.
command=/opt/java/bin/java,-XX:MaxRAMPercentage=60,-XX:+UseSerialGC,-XX:TieredStopAtLevel=1,-Xss512k,-jar,/app/app.jar

runtime
for line in "${lines[@]}"; do
  applications "$line"
  for app in catalogue restock; do
    image=$out/dubbo-$line/$app.tar
    [[ $image -nt $out/jre.made && $image -nt $out/dubbo-$line.made ]] ||
      bin/devcluster make-image "shop.example/$app:dubbo-$line" --layer "$out/jre" --layer "$out/dubbo-$line/lib" \
        --layer "$out/dubbo-$line/$app" --entrypoint "$command" --out "$image"
  done
done
