package org.example.catalogue;

/** Settings, which are environment variables. */
final class Settings {
    private Settings() {}

    static String get(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    /** The application's name, which is that of its Service. */
    static String application() {
        return get("APPLICATION", "catalogue");
    }
}
