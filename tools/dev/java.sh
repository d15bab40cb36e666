#!/usr/bin/env bash
# java.sh [project…]: build the Java examples and make images of them for the dev
# cluster: bin/java/PROJECT/APP.tar. A project is a directory of examples/java, or
# dubbo in one of its lines: dubbo-3.3, dubbo-3.2; or dubbo-2.7, which is the tests'
# alone. All are built without one. What is up to date is left alone.
#
# An image is a Java runtime of the machine's own JDK (by jlink), the libraries
# of an application, and its classes, each in a layer of its own. Elsewhere than
# in the dev cluster, the Dockerfile of a project makes them of a stock image.
set -euo pipefail
cd "$(dirname "$0")/../.."
projects=("$@")
((${#projects[@]})) || projects=(dubbo-3.3 dubbo-3.2 spring-hystrix spring-resilience4j dubbo-2.7)
out=bin/java
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

package() { # package DIRECTORY [PROFILE…]: mvn package
  local source=$1
  shift
  # Without the network if that goes: all is there from the second time on.
  if ! mvn -q -B -o "$@" -f "$source/pom.xml" package >"$log" 2>&1; then
    mvn -B "$@" -f "$source/pom.xml" package 2>&1 | tee "$log" | progress ||
      { grep -v '^Download\|^Progress' "$log" | tail -n 30 >&2; fail "Maven failed (see above): is Maven Central there, or a mirror in ~/.m2/settings.xml?"; }
  fi
}

# Whether a project was built since its sources were last changed.
fresh() { # fresh PROJECT DIRECTORY
  [[ -e $out/$1.made && -z $(find "$2" -newer "$out/$1.made" -type f ! -path '*/target/*' -print -quit) ]]
}

# Stopped by SIGTERM as process 1, small, and quick to start rather than at its peak.
java=/opt/java/bin/java,-XX:MaxRAMPercentage=60,-XX:+UseSerialGC,-XX:TieredStopAtLevel=1,-Xss512k

image() { # image PROJECT APP COMMAND LAYER…
  local project=$1 app=$2 command=$3 layers=() layer
  shift 3
  local tar=$out/$project/$app.tar
  if [[ $tar -nt $out/jre.made && $tar -nt $out/$project.made ]]; then return; fi
  for layer in "$out/jre" "$@"; do layers+=(--layer "$layer"); done
  bin/devcluster make-image "shop.example/$app:$project" "${layers[@]}" --entrypoint "$java,$command" --out "$tar"
}

dubbo() { # dubbo 3.3
  local project=dubbo-$1 source=examples/java/dubbo dir=$out/dubbo-$1 apps=(catalogue restock) profile=() app
  [[ $1 == 3.3 ]] || profile=("-Pdubbo-$1")
  if ! fresh "$project" "$source"; then
    echo "building the Java applications with Dubbo $1"
    rm -rf "$source"/*/target/"$1" "$dir" "$dir.made"
    package "$source" "${profile[@]}"
    mkdir -p "$dir/lib/app/lib"
    for app in "${apps[@]}"; do
      install -D -m 644 "$source/$app/target/$1/$app.jar" "$dir/$app/app/app.jar"
      cp -n "$source/$app/target/$1"/lib/*.jar "$dir/lib/app/lib/"
    done
    touch "$dir.made"
  fi
  for app in "${apps[@]}"; do image "$project" "$app" -jar,/app/app.jar "$dir/lib" "$dir/$app"; done
}

# The jar that Spring Boot makes is laid open, which is how it starts fastest.
spring() { # spring PROJECT APP…
  local project=$1 source=examples/java/$1 dir=$out/$1 app
  shift
  if ! fresh "$project" "$source"; then
    echo "building the Java applications of $project"
    rm -rf "$source"/*/target "$dir" "$dir.made"
    package "$source"
    for app; do
      mkdir -p "$dir/$app/app" "$dir/$app-lib/app/BOOT-INF"
      (cd "$dir/$app/app" && jar -xf "$OLDPWD/$source/$app/target/$app.jar")
      mv "$dir/$app/app/BOOT-INF/lib" "$dir/$app-lib/app/BOOT-INF/"
    done
    touch "$dir.made"
  fi
  for app; do
    image "$project" "$app" "-cp,/app,$(tr -d '\r' <"$dir/$app/app/META-INF/MANIFEST.MF" | sed -n 's/^Main-Class: //p')" "$dir/$app-lib" "$dir/$app"
  done
}

# A consumer of Dubbo 2, which the tests run beside the cluster: no image.
legacy() { # legacy 2.7
  local project=dubbo-$1 source=test/java/dubbo-$1 dir=$out/dubbo-$1
  if fresh "$project" "$source"; then return; fi
  echo "building a Java application with Dubbo $1"
  rm -rf "$source/target" "$dir" "$dir.made"
  package "$source"
  mkdir -p "$dir"
  cp -r "$source/target/legacy.jar" "$source/target/lib" "$dir/"
  touch "$dir.made"
}

runtime
for project in "${projects[@]}"; do
  case $project in
    dubbo-3.[23]) dubbo "${project#dubbo-}" ;;
    dubbo-2.7) legacy 2.7 ;;
    spring-hystrix) spring "$project" carriers delivery ;;
    spring-resilience4j) spring "$project" gifts ;;
    *) fail "there is no project $project; there are dubbo-3.3, dubbo-3.2, spring-hystrix, spring-resilience4j and dubbo-2.7" ;;
  esac
done
