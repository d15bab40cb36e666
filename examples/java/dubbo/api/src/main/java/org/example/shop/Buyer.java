package org.example.shop;

import java.io.Serializable;

/** Who an article is reserved for. */
public class Buyer implements Serializable {
    private static final long serialVersionUID = 1L;

    private String id;
    private String name;

    public Buyer() {}

    public Buyer(String id, String name) {
        this.id = id;
        this.name = name;
    }

    public String getId() {
        return id;
    }

    public void setId(String id) {
        this.id = id;
    }

    public String getName() {
        return name;
    }

    public void setName(String name) {
        this.name = name;
    }
}
