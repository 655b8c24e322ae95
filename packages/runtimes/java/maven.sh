# Sourced by fetch.sh, of Kotlin too. `copy_jars POM FOLDER`: the jars of a minimal pom, by Maven and its dependency plugin, and `FOLDER.list`, their coordinates.
# Maven knows proxies from its settings only. Nothing of what is fetched is run but Maven's own plugin.
maven_home=${MAVEN_HOME:-/usr/share/maven}
maven_plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

copy_jars() {
  if [ ! -d "$maven_home/boot" ]; then
    echo "Maven is not installed: apt-get install -y maven" >&2
    exit 1
  fi
  maven_work=$(mktemp -d)
  proxies=""
  if [ -n "${HTTPS_PROXY:-}" ]; then
    address=${HTTPS_PROXY#*://}
    address=${address%%/*}
    for protocol in http https; do
      proxies="$proxies<proxy><id>$protocol</id><active>true</active><protocol>$protocol</protocol><host>${address%:*}</host><port>${address##*:}</port></proxy>"
    done
  fi
  echo "<settings><proxies>$proxies</proxies></settings>" >"$maven_work/proxy.xml"
  user_settings=${TREADLE_MAVEN_SETTINGS:-}
  if [ -z "$user_settings" ]; then
    user_settings=$maven_work/settings.xml
    echo "<settings/>" >"$user_settings"
  fi
  classworlds=$(find "$maven_home/boot/" -name 'plexus-classworlds*.jar' | sort | head -n 1)
  # Tiered compilation and a small heap: most of it is waiting for the network.
  "$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx384m -classpath "$classworlds" \
    "-Dclassworlds.conf=$maven_home/bin/m2.conf" "-Dmaven.home=$maven_home" "-Dlibrary.jansi.path=$maven_home/lib/jansi-native" \
    "-Dmaven.multiModuleProjectDirectory=$maven_work" "-Dmaven.repo.local=$maven_work/repository" "-Duser.home=$maven_work" \
    "-Djava.io.tmpdir=$maven_work" org.codehaus.plexus.classworlds.launcher.Launcher \
    -B -q -ntp -Dstyle.color=never -gs "$maven_work/proxy.xml" -s "$user_settings" -f "$1" \
    "$maven_plugin:copy-dependencies" -DincludeScope=runtime -Dmdep.prependGroupId=true "-DoutputDirectory=$2" \
    "$maven_plugin:list" -Dsort=true "-DoutputFile=$maven_work/list"
  sed -n 's/^ *\([^ :]*:[^ ]*\).*$/\1/p' "$maven_work/list" >"$2.list"
  rm -rf "$maven_work"
}
