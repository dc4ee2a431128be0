public class Main {
    public static void main(String[] args) {
        int radius = "2.5";
        System.out.println(radius)
    }
}
