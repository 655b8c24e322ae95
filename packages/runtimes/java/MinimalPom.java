import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Element;
import org.w3c.dom.Node;

/**
 * Writes a pom.xml that has nothing but dependencies, from a user's `pom.xml` or `dependencies.txt`: a user's pom itself could name plugins and repositories, and
 * Maven would run and ask those. `java MinimalPom.java SOURCE-FOLDER POM [GROUP:ARTIFACT:VERSION...]`; the coordinates given win over those of the user.
 */
public final class MinimalPom {
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,199}");
  private static final Pattern VERSION = Pattern.compile("[A-Za-z0-9\\[(][A-Za-z0-9._+,()\\[\\] -]{0,99}");
  private static final Pattern PROPERTY = Pattern.compile("\\$\\{([^}]*)\\}");

  private static final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    Refused(String message) {
      super(message);
    }
  }

  private final StringBuilder managed = new StringBuilder();
  private final StringBuilder dependencies = new StringBuilder();
  private final Map<String, String> properties = new LinkedHashMap<>();
  private boolean hasManaged;

  private MinimalPom() {}

  public static void main(String[] arguments) throws Exception {
    Path source = Path.of(arguments[0]);
    MinimalPom pom = new MinimalPom();
    try {
      for (int i = 2; i < arguments.length; i++) pom.addLine(arguments[i]);
      if (Files.exists(source.resolve("pom.xml"))) pom.readPom(source.resolve("pom.xml"));
      if (Files.exists(source.resolve("dependencies.txt"))) pom.readLines(source.resolve("dependencies.txt"));
    } catch (Refused | org.xml.sax.SAXException e) {
      System.err.println("The dependencies cannot be fetched: " + e.getMessage());
      System.exit(1);
    }
    Files.writeString(Path.of(arguments[1]), pom.text());
  }

  private String text() {
    return "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>treadle</groupId>"
        + "<artifactId>function</artifactId><version>1</version><packaging>pom</packaging>"
        + "<dependencyManagement><dependencies>" + managed + "</dependencies></dependencyManagement>"
        + "<dependencies>" + dependencies + "</dependencies></project>\n";
  }

  /** A line `group:artifact:version` each; `#` begins a comment. */
  private void readLines(Path file) throws IOException, Refused {
    for (String line : Files.readAllLines(file)) {
      String bare = line.replaceFirst("#.*", "").strip();
      if (!bare.isEmpty()) addLine(bare);
    }
  }

  private void addLine(String line) throws Refused {
    String[] parts = line.split(":", -1);
    if (parts.length != 3) throw new Refused("\"" + line + "\" is not group:artifact:version.");
    Map<String, String> fields = new LinkedHashMap<>();
    fields.put("groupId", parts[0]);
    fields.put("artifactId", parts[1]);
    fields.put("version", parts[2]);
    add(dependencies, fields, "");
  }

  private void readPom(Path file) throws Exception {
    DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
    // No entities, no other files.
    factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
    Element project = factory.newDocumentBuilder().parse(file.toFile()).getDocumentElement();
    for (Element each : children(child(project, "properties"))) properties.put(each.getTagName(), each.getTextContent().strip());
    for (String name : List.of("version", "groupId")) {
      Element own = child(project, name);
      if (own != null) properties.put("project." + name, own.getTextContent().strip());
    }
    if (child(project, "parent") != null) {
      throw new Refused("pom.xml has a parent. Name the versions themselves, or a bill of materials in dependencyManagement.");
    }
    Element management = child(project, "dependencyManagement");
    for (Element each : children(management == null ? null : child(management, "dependencies"))) {
      hasManaged = true;
      readDependency(managed, each);
    }
    for (Element each : children(child(project, "dependencies"))) readDependency(dependencies, each);
  }

  private void readDependency(StringBuilder into, Element dependency) throws Refused {
    Map<String, String> fields = new LinkedHashMap<>();
    for (String name : List.of("groupId", "artifactId", "version", "classifier", "type", "scope", "optional")) {
      Element field = child(dependency, name);
      if (field != null) fields.put(name, filled(field.getTextContent().strip()));
    }
    String scope = fields.getOrDefault("scope", "compile");
    if (scope.equals("test")) return;
    if (scope.equals("system")) throw new Refused(fields.get("artifactId") + " has the scope system; only packages of the registry can be fetched.");
    StringBuilder exclusions = new StringBuilder();
    for (Element each : children(child(dependency, "exclusions"))) {
      exclusions.append("<exclusion>");
      for (String name : List.of("groupId", "artifactId")) {
        Element field = child(each, name);
        String value = field == null ? "*" : field.getTextContent().strip();
        if (!value.equals("*")) checked(NAME, value);
        exclusions.append('<').append(name).append('>').append(value).append("</").append(name).append('>');
      }
      exclusions.append("</exclusion>");
    }
    add(into, fields, exclusions.length() == 0 ? "" : "<exclusions>" + exclusions + "</exclusions>");
  }

  private void add(StringBuilder into, Map<String, String> fields, String rest) throws Refused {
    if (!fields.containsKey("groupId") || !fields.containsKey("artifactId")) throw new Refused("A dependency has no name.");
    if (!fields.containsKey("version") && !hasManaged) throw new Refused(fields.get("artifactId") + " has no version.");
    into.append("<dependency>");
    for (Map.Entry<String, String> field : fields.entrySet()) {
      String value = checked(field.getKey().equals("version") ? VERSION : NAME, field.getValue());
      if (value.endsWith("-SNAPSHOT")) throw new Refused("Snapshots change: name a released version of " + fields.get("artifactId") + ".");
      into.append('<').append(field.getKey()).append('>').append(value).append("</").append(field.getKey()).append('>');
    }
    into.append(rest).append("</dependency>");
  }

  private static String checked(Pattern pattern, String value) throws Refused {
    if (!pattern.matcher(value).matches() || value.contains("..")) throw new Refused("\"" + value + "\" cannot be part of a coordinate.");
    return value;
  }

  private String filled(String value) throws Refused {
    Matcher matcher = PROPERTY.matcher(value);
    StringBuilder filled = new StringBuilder();
    while (matcher.find()) {
      String property = properties.get(matcher.group(1));
      if (property == null) throw new Refused("pom.xml does not say what ${" + matcher.group(1) + "} is.");
      matcher.appendReplacement(filled, Matcher.quoteReplacement(property));
    }
    return matcher.appendTail(filled).toString();
  }

  private static Element child(Element parent, String name) {
    for (Element each : children(parent)) if (each.getTagName().equals(name)) return each;
    return null;
  }

  private static List<Element> children(Element parent) {
    List<Element> elements = new ArrayList<>();
    if (parent == null) return elements;
    for (Node node = parent.getFirstChild(); node != null; node = node.getNextSibling()) {
      if (node instanceof Element) elements.add((Element) node);
    }
    return elements;
  }
}
