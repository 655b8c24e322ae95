# Sourced by build.sh, of Kotlin too: writes `.treadle/java.args`, what the launch gives to `java`, and the archive of classes.
# An archive is only taken with the class path it was made with: hence names relative to the code folder (the layers lie side by side), and jars of time 0,
# whose times the JVM does not compare.
touch -d @0 "$artifact/.treadle/server.jar" "$artifact/.treadle/user.jar"
cat >"$artifact/.treadle/java.args" <<ARGUMENTS
-cp ".treadle/server.jar:.treadle/user.jar$jars"
-XX:SharedArchiveFile=.treadle/classes.jsa
ARGUMENTS
(
  cd "$artifact"
  # Only a start's speed hangs on it: a source that cannot be archived is no failure.
  "$JAVA_HOME/bin/java" -XX:+UseSerialGC -XX:ArchiveClassesAtExit=.treadle/classes.jsa -Xlog:disable -Xlog:all=off -Xmx256m \
    -cp ".treadle/server.jar:.treadle/user.jar$jars" treadle.Training "$work/training.sock" .treadle/user.jar >/dev/null 2>&1 ||
    echo "The classes could not be archived; starts will take longer."
)
[ ! -e "$artifact/.treadle/classes.jsa" ] || chmod 644 "$artifact/.treadle/classes.jsa"
