package org.example.shop;

/** Says that there is no such article. */
public class UnknownSkuException extends Exception {
    private static final long serialVersionUID = 1L;

    public UnknownSkuException(String message) {
        super(message);
    }
}
